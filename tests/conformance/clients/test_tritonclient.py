"""NVIDIA's own client, unchanged, sync and aio, in one process with our messages."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

from tests.support.server import Server


@pytest.fixture(name="client", scope="module")
def _client(server: Server) -> Iterator[triton.InferenceServerClient]:
    """A sync client to each transport."""
    with triton.InferenceServerClient(server.address) as client:
        yield client


def tensor(name: str, array: np.ndarray, datatype: str) -> triton.InferInput:
    """Return an input as tritonclient wants it."""
    value = triton.InferInput(name, list(array.shape), datatype)
    value.set_data_from_numpy(array)
    return value


A = np.arange(32, dtype=np.int32).reshape(2, 16)
B = np.ones((2, 16), np.int32)


def test_liveness_readiness_and_metadata(client: triton.InferenceServerClient) -> None:
    """Every question about the server and a model is answered."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("simple", "1")
    assert client.get_server_metadata().name == "isotherm"
    assert [-1, 16] == list(client.get_model_metadata("simple").inputs[0].shape)
    assert client.get_model_config("simple").config.max_batch_size == 1024
    assert client.get_inference_statistics("simple").model_stats[0].name == "simple"
    assert "simple" in [model.name for model in client.get_model_repository_index().models]


def test_infer_with_requested_outputs_id_and_timeout(client: triton.InferenceServerClient) -> None:
    """The example of Triton's own documentation."""
    result = client.infer(
        "simple",
        [tensor("INPUT0", A, "INT32"), tensor("INPUT1", B, "INT32")],
        outputs=[triton.InferRequestedOutput("OUTPUT0"), triton.InferRequestedOutput("OUTPUT1")],
        request_id="42",
        client_timeout=10,
    )

    assert result.get_response().id == "42"
    np.testing.assert_array_equal(A + B, result.as_numpy("OUTPUT0"))
    np.testing.assert_array_equal(A - B, result.as_numpy("OUTPUT1"))


def test_text_tensors(client: triton.InferenceServerClient) -> None:
    """BYTES go both ways."""
    words = np.array([["warm"], ["köld"]], object)

    result = client.infer("text", [tensor("INPUT0", words, "BYTES")])

    assert [[b"warm"], ["köld".encode()]] == result.as_numpy("OUTPUT0").tolist()


def test_compressed_requests(client: triton.InferenceServerClient) -> None:
    """The client's compression option works."""
    inputs = [tensor("INPUT0", A, "INT32"), tensor("INPUT1", B, "INT32")]

    for algorithm in ("gzip", "deflate"):
        result = client.infer("simple", inputs, compression_algorithm=algorithm)

        np.testing.assert_array_equal(A + B, result.as_numpy("OUTPUT0"))


def test_an_error_has_triton_s_status_and_text(client: triton.InferenceServerClient) -> None:
    """Code that looks at either goes on working."""
    with pytest.raises(InferenceServerException) as caught:
        client.infer("nobody", [tensor("INPUT0", A, "INT32")])

    assert caught.value.status() == "StatusCode.NOT_FOUND"
    assert "Request for unknown model" in caught.value.message()


def test_callbacks(client: triton.InferenceServerClient) -> None:
    """`async_infer` answers through a callback."""
    answers: queue.Queue = queue.Queue()
    client.async_infer(
        "simple",
        [tensor("INPUT0", A, "INT32"), tensor("INPUT1", B, "INT32")],
        callback=lambda result, error: answers.put((result, error)),
    )

    result, error = answers.get(timeout=10)

    assert error is None
    np.testing.assert_array_equal(A + B, result.as_numpy("OUTPUT0"))


async def test_the_aio_client(server: Server) -> None:
    """Many calls at once on one event loop."""
    async with triton_aio.InferenceServerClient(server.address) as client:
        assert await client.is_server_ready()
        inputs = [tensor("INPUT0", A, "INT32"), tensor("INPUT1", B, "INT32")]
        results = await asyncio.gather(*(client.infer("simple", inputs) for _ in range(100)))

    for result in results:
        np.testing.assert_array_equal(A + B, result.as_numpy("OUTPUT0"))


def test_triton_s_streaming_client(server: Server) -> None:
    """`start_stream` and `async_stream_infer`, errors among the answers."""
    answers: queue.Queue = queue.Queue()
    with triton.InferenceServerClient(server.address) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        for model in ("doubling", "nobody", "doubling"):
            tensor = triton.InferInput("x", [1, 1], "FP32")
            tensor.set_data_from_numpy(np.ones((1, 1), np.float32))
            client.async_stream_infer(model, [tensor])
        got = [answers.get(timeout=10) for _ in range(3)]
        client.stop_stream()

    assert 1 == sum(error is not None for _, error in got)
    for result, error in got:
        if error is None:
            np.testing.assert_array_equal([[2.0]], result.as_numpy("y"))
