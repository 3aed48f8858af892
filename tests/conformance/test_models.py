"""What the server and its models say of themselves."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest

from isotherm.v1 import contract as contracts
from isotherm.v1 import open_inference_pb2 as pb
from tests.support.models import doubling_contract
from tests.support.rpc import call, error_of, infer_request
from tests.support.server import Server, eventually


def test_a_server_that_answers_is_live_and_ready(channel: grpc.Channel) -> None:
    """Every model was loaded before the port was bound."""
    assert call(channel, "ServerLive", pb.ServerLiveRequest()).live
    assert call(channel, "ServerReady", pb.ServerReadyRequest()).ready


def test_only_what_works_is_advertised(channel: grpc.Channel) -> None:
    """Clients rely on the extensions that are named."""
    metadata = call(channel, "ServerMetadata", pb.ServerMetadataRequest())

    assert metadata.name == "isotherm"
    assert metadata.version
    assert [
        "binary_tensor_data",
        "classification",
        "model_configuration",
        "model_repository",
        "parameters",
        "statistics",
    ] == list(metadata.extensions)


def test_a_known_model_is_ready_and_an_unknown_one_is_not_found(channel: grpc.Channel) -> None:
    """A name never seen is the caller's mistake, not a model that is away."""
    assert call(channel, "ModelReady", pb.ModelReadyRequest(name="mlp", version="1")).ready
    code, text = error_of(channel, "ModelReady", pb.ModelReadyRequest(name="nobody"))

    assert code is grpc.StatusCode.NOT_FOUND
    assert "'nobody'" in text


def test_metadata_shapes_hold_the_batch(channel: grpc.Channel) -> None:
    """-1 stands for any number of rows."""
    metadata = call(channel, "ModelMetadata", pb.ModelMetadataRequest(name="wide"))

    assert ("wide", ["1"], "onnxruntime_onnx") == (
        metadata.name,
        list(metadata.versions),
        metadata.platform,
    )
    assert [("x", "FP32", [-1, 4])] == [
        (t.name, t.datatype, list(t.shape)) for t in metadata.inputs
    ]
    assert [("y", "FP32", [-1, 3])] == [
        (t.name, t.datatype, list(t.shape)) for t in metadata.outputs
    ]


def test_configuration_dimensions_leave_the_batch_out(channel: grpc.Channel) -> None:
    """Readers combine them with max_batch_size."""
    config = call(channel, "ModelConfig", pb.ModelConfigRequest(name="wide")).config

    assert ("wide", "onnxruntime_onnx", "onnxruntime", 1024) == (
        config.name,
        config.platform,
        config.backend,
        config.max_batch_size,
    )
    assert [("x", pb.TYPE_FP32, [4])] == [(t.name, t.data_type, list(t.dims)) for t in config.input]
    assert config.HasField("dynamic_batching")


def test_a_model_that_cannot_be_batched_says_so(channel: grpc.Channel) -> None:
    """max_batch_size 0 means that shapes are whole."""
    config = call(channel, "ModelConfig", pb.ModelConfigRequest(name="fixed")).config

    assert config.max_batch_size == 0
    assert [2, 3] == list(config.input[0].dims)
    assert not config.HasField("dynamic_batching")


def test_the_contract_rides_in_the_configuration(channel: grpc.Channel) -> None:
    """A client reads units and ranges from the model that answers it."""
    config = call(channel, "ModelConfig", pb.ModelConfigRequest(name="doubling")).config

    assert doubling_contract() == contracts.loads(
        config.parameters["isotherm.contract"].string_value
    )


def test_a_plain_model_has_no_contract(channel: grpc.Channel) -> None:
    """Files from elsewhere are served too."""
    config = call(channel, "ModelConfig", pb.ModelConfigRequest(name="mlp")).config

    assert "isotherm.contract" not in config.parameters


def statistics(channel: grpc.Channel, model: str) -> pb.ModelStatistics:
    """Return one model's statistics."""
    answer = call(channel, "ModelStatistics", pb.ModelStatisticsRequest(name=model))
    stats: pb.ModelStatistics
    (stats,) = answer.model_stats
    return stats


def executions_of_two(channel: grpc.Channel) -> int:
    """Return how many executions of two rows the model has timed."""
    sizes = statistics(channel, "wide").batch_stats
    return sum(entry.compute_infer.count for entry in sizes if entry.batch_size == 2)


def test_statistics_count_requests_rows_and_executions(channel: grpc.Channel) -> None:
    """Three requests of two rows, one after the other, are three executions of size two."""
    request = infer_request("wide", x=np.zeros((2, 4), np.float32))
    before = statistics(channel, "wide")
    for _ in range(3):
        call(channel, "ModelInfer", request)

    # What a batch took is known once its answers are sent.
    assert eventually(lambda: executions_of_two(channel) >= 3)
    after = statistics(channel, "wide")

    assert 3 == after.inference_stats.success.count - before.inference_stats.success.count
    assert 6 == after.inference_count - before.inference_count
    assert 3 == after.execution_count - before.execution_count
    assert after.last_inference > 1_600_000_000_000


def test_phases_add_up_to_the_whole(channel: grpc.Channel) -> None:
    """Queue, input, run and output are all of a request's time in the server."""
    call(channel, "ModelInfer", infer_request("wide", x=np.zeros((2, 4), np.float32)))

    def whole() -> bool:
        stats = statistics(channel, "wide").inference_stats
        parts = (stats.queue, stats.compute_input, stats.compute_infer, stats.compute_output)
        return stats.success.ns == sum(part.ns for part in parts) > 0 and {stats.success.count} == {
            part.count for part in parts
        }

    # An answer may be here before what it took is added.
    assert eventually(whole)


def test_a_refused_request_counts_neither_as_success_nor_as_failure(channel: grpc.Channel) -> None:
    """As on Triton: only accepted requests are counted."""
    before = statistics(channel, "wide")
    error_of(channel, "ModelInfer", infer_request("wide", x=np.zeros((2, 9), np.float32)))

    after = statistics(channel, "wide")

    assert before.inference_stats == after.inference_stats


def test_statistics_without_a_name_are_those_of_all_models(channel: grpc.Channel) -> None:
    """The empty name asks for everything."""
    answer = call(channel, "ModelStatistics", pb.ModelStatisticsRequest())

    index = call(channel, "RepositoryIndex", pb.RepositoryIndexRequest())
    names = {model.name for model in index.models}
    assert "doubling" in names
    assert names == {stats.name for stats in answer.model_stats}


def test_the_repository_index_lists_every_version_with_its_state(channel: grpc.Channel) -> None:
    """All of this repository's models could be loaded."""
    answer = call(channel, "RepositoryIndex", pb.RepositoryIndexRequest())

    assert ("doubling", "1", "READY", "") in [
        (model.name, model.version, model.state, model.reason) for model in answer.models
    ]
    assert {"READY"} == {model.state for model in answer.models}


@pytest.mark.parametrize(
    ("method", "request_message", "text"),
    [
        (
            "RepositoryModelLoad",
            pb.RepositoryModelLoadRequest(model_name="mlp"),
            "start it with --model-control explicit",
        ),
        ("SystemSharedMemoryStatus", pb.SystemSharedMemoryStatusRequest(), "shared memory"),
        ("CudaSharedMemoryRegister", pb.CudaSharedMemoryRegisterRequest(), "shared memory"),
        ("TraceSetting", pb.TraceSettingRequest(), "--tracing-endpoint"),
        ("LogSettings", pb.LogSettingsRequest(), "--log-control"),
    ],
)
def test_what_is_not_served_is_unimplemented_with_a_reason(
    channel: grpc.Channel, method: str, request_message: Any, text: str
) -> None:
    """A known RPC that does nothing must not look like one that does."""
    code, details = error_of(channel, method, request_message)

    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert method in details
    assert text in details


def test_an_unknown_rpc_is_unimplemented_and_counted_under_no_name_of_the_caller(
    channel: grpc.Channel, server: Server
) -> None:
    """A client's strings never become labels."""
    series = (
        'grpc_server_handled_total{grpc_code="Unimplemented",grpc_method="_OTHER",'
        'grpc_service="_OTHER",grpc_type="unary"}'
    )
    before = server.metric(series)
    unknown: Any = channel.unary_unary("/made.up/Name")
    with pytest.raises(grpc.RpcError):
        unknown(b"", timeout=10)

    assert before + 1 == server.metric(series)
    assert "made.up" not in server.get("/metrics")[1]


def test_metrics_count_what_was_called(channel: grpc.Channel, server: Server) -> None:
    """Requests, rows and RPCs are exact."""
    series = {
        'isotherm_requests_total{code="OK",model="simple",version="1"}': 5,
        'isotherm_inferences_total{model="simple",version="1"}': 15,
        'isotherm_executions_total{model="simple",version="1"}': 5,
        'isotherm_batch_size_bucket{le="4",model="simple",version="1"}': 5,
        'isotherm_request_duration_seconds_count{model="simple",version="1"}': 5,
        'grpc_server_handled_total{grpc_code="OK",grpc_method="ModelInfer",'
        'grpc_service="inference.GRPCInferenceService",grpc_type="unary"}': 5,
    }
    answered, *_, timed, _ = series
    # What a request took is added once its answer is sent, here and for who asked before.
    assert eventually(lambda: server.metric(timed) == server.metric(answered))
    before = {name: server.metric(name) for name in series}
    rows = np.zeros((3, 16), np.int32)
    for _ in range(5):
        call(channel, "ModelInfer", infer_request("simple", INPUT0=rows, INPUT1=rows))

    counted = {name: server.metric(name) - before[name] for name in series if name != timed}
    assert series == counted | {timed: 5}
    assert eventually(lambda: server.metric(timed) - before[timed] == 5)
