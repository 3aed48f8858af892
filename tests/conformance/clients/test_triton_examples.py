"""What Triton's self-checking example clients do, against models of the same names and tensors."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import onnx
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from onnx import TensorProto, helper
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tests.support import models
from tests.support.server import Server, serving

A = np.arange(16, dtype=np.int32).reshape(1, 16)
B = np.ones((1, 16), np.int32)
INFER = "/inference.GRPCInferenceService/ModelInfer"


def sum_and_difference(elem_type: int) -> onnx.ModelProto:
    """Return Triton's example model for a type whose numbers must be cast to be added."""
    nodes = [
        *(helper.make_node("Cast", [f"INPUT{n}"], [f"in{n}"], to=TensorProto.INT32) for n in "01"),
        helper.make_node("Add", ["in0", "in1"], ["sum"]),
        helper.make_node("Sub", ["in0", "in1"], ["difference"]),
        helper.make_node("Cast", ["sum"], ["OUTPUT0"], to=elem_type),
        helper.make_node("Cast", ["difference"], ["OUTPUT1"], to=elem_type),
    ]
    ends = {
        name: helper.make_tensor_value_info(name, elem_type, ["batch", 16])
        for name in ("INPUT0", "INPUT1", "OUTPUT0", "OUTPUT1")
    }
    graph = helper.make_graph(
        nodes, "simple", [ends["INPUT0"], ends["INPUT1"]], [ends["OUTPUT0"], ends["OUTPUT1"]]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    return model


@pytest.fixture(name="examples", scope="module")
def _examples(tmp_path_factory: pytest.TempPathFactory, transport: str) -> Iterator[Server]:
    """A server with the models that the examples ask for."""
    folder: Path = tmp_path_factory.mktemp("examples")
    models.publish(folder, "simple", models.simple())
    models.publish(folder, "simple_int8", sum_and_difference(TensorProto.INT8))
    models.publish(folder, "simple_string", sum_and_difference(TensorProto.STRING))
    models.publish(folder, "simple_identity", models.identity(dims=("length",)))
    for name in ("simple", "simple_int8", "simple_string", "simple_identity"):
        (folder / name / "config.pbtxt").write_text("max_batch_size: 8")
    with serving(folder, "--transport", transport) as server:
        yield server


def inputs(first: np.ndarray, second: np.ndarray) -> list[triton.InferInput]:
    """Return both inputs."""
    found = []
    for name, array in (("INPUT0", first), ("INPUT1", second)):
        value = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        value.set_data_from_numpy(array)
        found.append(value)
    return found


OUTPUTS = [triton.InferRequestedOutput("OUTPUT0"), triton.InferRequestedOutput("OUTPUT1")]


def check(result: triton.InferResult) -> None:
    """Sum and difference of every element."""
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), A + B)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), A - B)


def test_infer_with_headers_compression_and_statistics(examples: Server) -> None:
    """The first example: twice the same, then what the server counted, then a wrong name."""
    with triton.InferenceServerClient(examples.address) as client:
        headers = {"test": "1"}
        check(client.infer("simple", inputs(A, B), outputs=OUTPUTS, headers=headers))
        check(client.infer("simple", inputs(A, B), headers=headers, compression_algorithm="gzip"))
        statistics = client.get_inference_statistics(model_name="simple")
        with pytest.raises(InferenceServerException) as error:
            client.infer("wrong_model_name", inputs(A, B))

    assert len(statistics.model_stats) == 1
    assert statistics.model_stats[0].name == "simple"
    assert "Request for unknown model" in error.value.message()


def test_async_infer(examples: Server) -> None:
    """By callback, and a call that is cancelled."""
    answers: queue.SimpleQueue[tuple[triton.InferResult, object]] = queue.SimpleQueue()
    with triton.InferenceServerClient(examples.address) as client:
        for _ in range(4):
            client.async_infer(
                "simple", inputs(A, B), lambda result, error: answers.put((result, error))
            )
        for _ in range(4):
            result, error = answers.get(timeout=10)
            assert error is None
            check(result)


async def test_aio_infer(examples: Server) -> None:
    """Two at once on one event loop."""
    async with triton_aio.InferenceServerClient(examples.address) as client:
        calls = (client.infer("simple", inputs(A, B), outputs=OUTPUTS) for _ in range(2))
        for result in await asyncio.gather(*calls):
            check(result)


def test_keepalive(examples: Server) -> None:
    """With the options that the example shows."""
    options = triton.KeepAliveOptions(
        keepalive_time_ms=2**31 - 1,
        keepalive_timeout_ms=20_000,
        keepalive_permit_without_calls=False,
        http2_max_pings_without_data=2,
    )
    with triton.InferenceServerClient(examples.address, keepalive_options=options) as client:
        check(client.infer("simple", inputs(A, B)))


def test_custom_channel_arguments(examples: Server) -> None:
    """A channel of one's own making."""
    arguments = [("grpc.primary_user_agent", "example"), ("grpc.dns_enable_srv_queries", 0)]
    with triton.InferenceServerClient(examples.address, channel_args=arguments) as client:
        check(client.infer("simple", inputs(A, B)))


def test_health_and_metadata(examples: Server) -> None:
    """All questions, and the text for a model that there is not."""
    with triton.InferenceServerClient(examples.address) as client:
        assert client.is_server_live(headers={"test": "1", "dummy": "2"})
        assert client.is_server_ready()
        assert client.is_model_ready("simple")
        assert client.get_server_metadata().name == "isotherm"
        assert client.get_model_metadata("simple").name == "simple"
        assert client.get_model_config("simple").config.name == "simple"
        assert client.get_model_config("simple").config.max_batch_size == 8
        with pytest.raises(InferenceServerException) as error:
            client.get_model_metadata("wrong_model_name")

    assert "Request for unknown model" in error.value.message()


def explicit(
    server: Server, request: service_pb2.ModelInferRequest
) -> service_pb2.ModelInferResponse:
    """Send a message that was filled by hand."""
    with grpc.insecure_channel(server.address) as channel:
        method = channel.unary_unary(
            INFER,
            request_serializer=service_pb2.ModelInferRequest.SerializeToString,
            response_deserializer=service_pb2.ModelInferResponse.FromString,
        )
        response: service_pb2.ModelInferResponse = method(request, timeout=10)
        return response


@pytest.mark.parametrize(
    ("model", "datatype", "kind"),
    [("simple", "INT32", np.int32), ("simple_int8", "INT8", np.int8)],
)
def test_explicit_numbers(examples: Server, model: str, datatype: str, kind: type) -> None:
    """Typed contents in, raw contents out; both at once are refused."""
    request = service_pb2.ModelInferRequest(model_name=model, id="my request id")
    for name, array in (("INPUT0", A), ("INPUT1", B)):
        tensor = request.inputs.add(name=name, datatype=datatype, shape=[1, 16])
        tensor.contents.int_contents.extend(array.ravel().tolist())
    response = explicit(examples, request)
    request.raw_input_contents.append(A.astype(kind).tobytes())
    with pytest.raises(grpc.RpcError) as error:
        explicit(examples, request)

    found: list[np.ndarray] = [
        np.frombuffer(raw, kind).reshape(1, 16) for raw in response.raw_output_contents
    ]
    np.testing.assert_array_equal(found[0], A + B)
    np.testing.assert_array_equal(found[1], A - B)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "contents" in (error.value.details() or "")


def test_explicit_text(examples: Server) -> None:
    """Numbers as text in `bytes_contents`."""
    request = service_pb2.ModelInferRequest(model_name="simple_string")
    for name, array in (("INPUT0", A), ("INPUT1", B)):
        tensor = request.inputs.add(name=name, datatype="BYTES", shape=[1, 16])
        tensor.contents.bytes_contents.extend(str(value).encode() for value in array.ravel())
    response = triton.InferResult(explicit(examples, request))

    for name, expected in (("OUTPUT0", A + B), ("OUTPUT1", A - B)):
        assert [int(text) for text in response.as_numpy(name).ravel()] == expected.ravel().tolist()


def test_text_by_the_client(examples: Server) -> None:
    """Object arrays of text, summed, and given back as they are."""
    texts = [np.array([[str(v) for v in row] for row in one], object) for one in (A, B)]
    words = np.array([["", "two words", "für", "\x00\x01"]], object)
    identity = triton.InferInput("INPUT0", [1, 4], "BYTES")
    identity.set_data_from_numpy(words)
    with triton.InferenceServerClient(examples.address) as client:
        result = client.infer("simple_string", inputs(*texts))
        same = client.infer("simple_identity", [identity]).as_numpy("OUTPUT0")

    assert [int(text) for text in result.as_numpy("OUTPUT0").ravel()] == (A + B).ravel().tolist()
    assert [text.decode() for text in same.ravel()] == words.ravel().tolist()
