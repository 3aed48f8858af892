"""What the server says of its models: metadata, configuration, statistics, the index."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from isotherm.server.config import BatchingConfig, ServerConfig
from isotherm.server.counters import Block
from isotherm.server.errors import InvalidRequestError, NotFoundError, UnavailableError
from isotherm.server.layout import Rejection, WorkerState
from isotherm.server.loader import Loader
from isotherm.server.model_config import ModelSettings
from isotherm.server.repository import Repository
from isotherm.server.service.models import ModelsService
from isotherm.server.service.repository import RepositoryService
from isotherm.v1 import contract as contracts
from isotherm.v1 import open_inference_pb2 as pb
from tests.support import models
from tests.support.hostile import TRUSTED
from tests.unit.server.fakes import executed, succeeded


def loaded(folder: Path, **batching: Any) -> Repository:
    """Load a folder's models on the CPU."""
    repository = Repository(folder, ModelSettings(batching=BatchingConfig(**batching)))
    list(repository.load(Loader(ServerConfig(repository=folder, provider="cpu", vetting=TRUSTED))))
    return repository


@pytest.fixture(name="models_folder", scope="module")
def _models_folder(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """One model of every kind that answers differ for, and a broken one."""
    folder = tmp_path_factory.mktemp("models")
    contract = models.doubling_contract()
    models.publish(folder, "doubling", models.with_contract(models.doubling(), contract), 7)
    models.publish(folder, "simple", models.simple())
    models.publish(folder, "text", models.identity())
    models.publish(folder, "variable", models.identity(1, ("length", 3)))
    models.publish(folder, "fixed", models.fixed_batch())
    (folder / "broken" / "1").mkdir(parents=True)
    (folder / "broken" / "1" / "model.onnx").write_bytes(b"broken")
    return loaded(folder, max_queue_delay_us=250)


@pytest.fixture(name="blocks")
def _blocks() -> list[Block]:
    """Two workers' counters."""
    return [Block.create([]), Block.create([])]


@pytest.fixture(name="service")
def _service(models_folder: Repository, blocks: list[Block]) -> ModelsService:
    """The service over both."""
    return ModelsService(models_folder, blocks)


def shape_of(tensor: pb.ModelMetadataResponse.TensorMetadata) -> tuple[str, str, list[int]]:
    """Return a tensor's metadata as values."""
    return tensor.name, tensor.datatype, list(tensor.shape)


def test_a_server_that_answers_lives(service: ModelsService):
    """That is all that it means."""
    assert service.server_live(pb.ServerLiveRequest()).live


def test_the_server_is_ready_when_all_workers_serve_all_models(tmp_path, blocks: list[Block]):
    """One that does not is enough."""
    models.publish(tmp_path, "m", models.doubling())
    service = ModelsService(loaded(tmp_path), blocks)
    found = []
    for states in (
        (WorkerState.SERVING, WorkerState.STARTING),
        (WorkerState.SERVING, WorkerState.SERVING),
        (WorkerState.DRAINING, WorkerState.SERVING),
    ):
        for block, state in zip(blocks, states, strict=True):
            block.state = state
        found.append(service.server_ready(pb.ServerReadyRequest()).ready)

    assert found == [False, True, False]


def test_a_server_with_a_broken_model_is_not_ready(service: ModelsService, blocks: list[Block]):
    """Although every worker serves."""
    for block in blocks:
        block.state = WorkerState.SERVING

    assert not service.server_ready(pb.ServerReadyRequest()).ready


def test_the_servers_metadata_names_only_what_works(service: ModelsService):
    """Clients rely on the extensions."""
    answer = service.server_metadata(pb.ServerMetadataRequest())

    assert (answer.name, answer.version) == ("isotherm", metadata.version("isotherm"))
    assert list(answer.extensions) == [
        "binary_tensor_data",
        "classification",
        "model_configuration",
        "model_repository",
        "parameters",
        "statistics",
    ]


@pytest.mark.parametrize(
    ("name", "version", "ready"),
    [
        ("doubling", "", True),
        ("doubling", "7", True),
        ("broken", "", False),
        ("broken", "1", False),
    ],
)
def test_a_known_model_is_ready_or_not(
    service: ModelsService, name: str, version: str, ready: bool
):
    """A broken one is no error."""
    request = pb.ModelReadyRequest(name=name, version=version)

    assert service.model_ready(request).ready is ready


@pytest.mark.parametrize(("name", "version"), [("nobody", ""), ("doubling", "1")])
def test_an_unknown_model_is_not_found_by_any_method(
    service: ModelsService, name: str, version: str
):
    """Also when only the version is unknown."""
    with pytest.raises(NotFoundError):
        service.model_ready(pb.ModelReadyRequest(name=name, version=version))
    with pytest.raises(NotFoundError):
        service.model_metadata(pb.ModelMetadataRequest(name=name, version=version))
    with pytest.raises(NotFoundError):
        service.model_config(pb.ModelConfigRequest(name=name, version=version))
    with pytest.raises(NotFoundError):
        service.model_statistics(pb.ModelStatisticsRequest(name=name, version=version))


def test_a_broken_model_has_no_metadata(service: ModelsService):
    """It is known, but its graph is not."""
    with pytest.raises(UnavailableError):
        service.model_metadata(pb.ModelMetadataRequest(name="broken"))


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("doubling", [("x", "FP32", [-1, 1])], [("y", "FP32", [-1, 1])]),
        (
            "simple",
            [("INPUT0", "INT32", [-1, 16]), ("INPUT1", "INT32", [-1, 16])],
            [("OUTPUT0", "INT32", [-1, 16]), ("OUTPUT1", "INT32", [-1, 16])],
        ),
        ("text", [("INPUT0", "BYTES", [-1, 1])], [("OUTPUT0", "BYTES", [-1, 1])]),
        ("variable", [("INPUT0", "FP32", [-1, -1, 3])], [("OUTPUT0", "FP32", [-1, -1, 3])]),
        ("fixed", [("x", "FP32", [2, 3])], [("y", "FP32", [2, 3])]),
    ],
)
def test_metadata_shapes_have_the_batch_as_minus_one(
    service: ModelsService, name: str, inputs: list, outputs: list
):
    """And every other free dimension too."""
    answer = service.model_metadata(pb.ModelMetadataRequest(name=name))

    assert (answer.name, answer.platform) == (name, "onnxruntime_onnx")
    assert list(answer.versions) == ["7" if name == "doubling" else "1"]
    assert [shape_of(tensor) for tensor in answer.inputs] == inputs
    assert [shape_of(tensor) for tensor in answer.outputs] == outputs


@pytest.mark.parametrize(
    ("name", "data_type", "dims", "max_batch_size"),
    [
        ("doubling", pb.TYPE_FP32, [1], 1024),
        ("simple", pb.TYPE_INT32, [16], 1024),
        ("text", pb.TYPE_STRING, [1], 1024),
        ("variable", pb.TYPE_FP32, [-1, 3], 1024),
        ("fixed", pb.TYPE_FP32, [2, 3], 0),
    ],
)
def test_config_dims_leave_the_batch_out(
    service: ModelsService, name: str, data_type: int, dims: list[int], max_batch_size: int
):
    """Unless the model has none; then it does not batch either."""
    config = service.model_config(pb.ModelConfigRequest(name=name)).config

    assert (config.name, config.platform, config.backend) == (
        name,
        "onnxruntime_onnx",
        "onnxruntime",
    )
    assert config.max_batch_size == max_batch_size
    assert {(part.data_type, tuple(part.dims)) for part in config.input} == {
        (data_type, tuple(dims))
    }
    assert {(part.data_type, tuple(part.dims)) for part in config.output} == {
        (data_type, tuple(dims))
    }
    assert config.HasField("dynamic_batching") == bool(max_batch_size)
    assert config.dynamic_batching.max_queue_delay_microseconds == (250 if max_batch_size else 0)


def test_no_delay_still_shows_that_requests_are_batched(tmp_path: Path):
    """Readers look for the message's presence."""
    models.publish(tmp_path, "doubling", models.doubling())
    service = ModelsService(loaded(tmp_path), [])
    config = service.model_config(pb.ModelConfigRequest(name="doubling")).config
    again = pb.ModelConfig.FromString(config.SerializeToString())

    assert again.HasField("dynamic_batching")


def test_the_config_says_where_and_which(service: ModelsService):
    """One instance on the CPU, the latest version, no sequence and no ensemble."""
    config = service.model_config(pb.ModelConfigRequest(name="doubling")).config
    (group,) = config.instance_group

    assert (group.name, group.count) == ("doubling_0", 1)
    assert group.kind == pb.ModelInstanceGroup.KIND_CPU
    assert config.version_policy.latest.num_versions == 1
    assert not config.HasField("sequence_batching")


def test_the_contract_rides_in_the_config(service: ModelsService):
    """A plain model has none."""
    config = service.model_config(pb.ModelConfigRequest(name="doubling")).config
    plain = service.model_config(pb.ModelConfigRequest(name="simple")).config
    text = config.parameters[contracts.METADATA_KEY].string_value

    assert contracts.loads(text) == models.doubling_contract()
    assert contracts.METADATA_KEY not in plain.parameters


def test_the_config_says_where_a_model_runs(service: ModelsService):
    """On the CPU alone there is nothing more to say."""
    parameters = service.model_config(pb.ModelConfigRequest(name="simple")).config.parameters

    assert {name: each.string_value for name, each in parameters.items()} == {
        "isotherm.provider": "cpu"
    }


def test_statistics_are_sums_over_all_workers(service: ModelsService, blocks: list[Block]):
    """Successes, failures, phases and batch sizes, in the protocol's fields."""
    for block in blocks:
        counters = block.open_model("doubling", 7)
        executed(counters, 3, 10, 200, 30)
        succeeded(counters, [1000, 2000], 10, 200, 30)
        counters.fail(13, 5000)
        counters.reject(Rejection.CANCELLED, 1)
        counters.reject(Rejection.QUEUE_FULL, 8)
        counters.refuse(3)
    (answer,) = service.model_statistics(pb.ModelStatisticsRequest(name="doubling")).model_stats
    stats = answer.inference_stats
    found = {
        field: (getattr(stats, field).count, getattr(stats, field).ns)
        for field in (
            *("success", "fail", "queue", "compute_input", "compute_infer", "compute_output"),
            *("cache_hit", "cache_miss"),
        )
    }

    assert (answer.name, answer.version) == ("doubling", "7")
    assert answer.last_inference > 1_700_000_000_000
    assert (answer.inference_count, answer.execution_count) == (6, 2)
    assert found == {
        "success": (4, 2 * 3000 + 4 * 240),
        "fail": (4, 10_000),
        "queue": (4, 6000),
        "compute_input": (4, 40),
        "compute_infer": (4, 800),
        "compute_output": (4, 120),
        "cache_hit": (0, 0),
        "cache_miss": (0, 0),
    }
    assert [
        (b.batch_size, b.compute_input.count, b.compute_input.ns, b.compute_infer.ns)
        for b in answer.batch_stats
    ] == [(3, 2, 20, 400)]


def test_statistics_without_a_name_are_of_every_model(service: ModelsService, blocks: list[Block]):
    """In the order they were loaded."""
    for name, version in (("doubling", 7), ("simple", 1)):
        blocks[0].open_model(name, version)
    answer = service.model_statistics(pb.ModelStatisticsRequest())
    one = service.model_statistics(pb.ModelStatisticsRequest(name="simple", version="1"))

    assert [model.name for model in answer.model_stats] == ["doubling", "simple"]
    assert [model.name for model in one.model_stats] == ["simple"]


def test_a_version_without_a_name_is_the_callers_mistake(service: ModelsService):
    """Of which model?"""
    with pytest.raises(InvalidRequestError, match="version 7 was given without a model's name"):
        service.model_statistics(pb.ModelStatisticsRequest(version="7"))


def test_the_index_lists_every_version_with_its_state(models_folder: Repository):
    """A broken one with its reason."""
    index = RepositoryService(models_folder).index(pb.RepositoryIndexRequest())
    states = {model.name: (model.version, model.state) for model in index.models}
    (broken,) = (model for model in index.models if model.name == "broken")

    assert states == {
        "broken": ("1", "UNAVAILABLE"),
        "doubling": ("7", "READY"),
        "fixed": ("1", "READY"),
        "simple": ("1", "READY"),
        "text": ("1", "READY"),
        "variable": ("1", "READY"),
    }
    assert "model.onnx: " in broken.reason


def test_the_index_lists_only_what_is_ready_when_asked(models_folder: Repository):
    """Then the broken one is left out."""
    index = RepositoryService(models_folder).index(pb.RepositoryIndexRequest(ready=True))

    assert "broken" not in {model.name for model in index.models}
    assert len(index.models) == 5
