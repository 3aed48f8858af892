"""tritonclient.http and KServe's REST client, unchanged, each in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import kserve
from tests.support.environments import environment, run
from tests.support.ports import free_port
from tests.support.rest import Rest
from tests.support.server import eventually, serving

pytestmark = pytest.mark.slow

TRITON = """
import sys

import numpy as np
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

X = np.array([[1.0], [2.5]], np.float32)


def tensor(name, array, datatype, **options):
    found = http.InferInput(name, list(array.shape), datatype)
    found.set_data_from_numpy(array, **options)
    return found


def refused(call, status):
    try:
        call()
    except InferenceServerException as error:
        assert error.status() == status, (error.status(), error.message())
        return error.message()
    raise AssertionError("it was answered")


client = http.InferenceServerClient(sys.argv[1], concurrency=4)
assert client.is_server_live()
assert client.is_server_ready()
assert client.is_model_ready("doubling")
assert client.is_model_ready("doubling", "1")
assert not client.is_model_ready("nobody")
assert client.get_server_metadata()["name"] == "isotherm"
assert client.get_model_metadata("doubling")["inputs"][0]["shape"] == [-1, 1]
assert client.get_model_config("doubling")["max_batch_size"] == 1024
index = {model["name"]: model["state"] for model in client.get_model_repository_index()}
assert index["doubling"] == "READY", index

# Binary both ways, as it does by itself; JSON both ways; each of them; and a caller's id.
for binary_in in (True, False):
    inputs = [tensor("x", X, "FP32", binary_data=binary_in)]
    for outputs in (
        None,
        [http.InferRequestedOutput("y", binary_data=True)],
        [http.InferRequestedOutput("y", binary_data=False)],
    ):
        result = client.infer("doubling", inputs, outputs=outputs, request_id="7")
        np.testing.assert_array_equal(2 * X, result.as_numpy("y"))
        assert result.get_response()["id"] == "7"

# Compressed both ways, and large enough to be worth it.
large = np.arange(3000, dtype=np.float32).reshape(-1, 1)
for algorithm in ("gzip", "deflate"):
    result = client.infer(
        "doubling",
        [tensor("x", large, "FP32")],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    np.testing.assert_array_equal(2 * large, result.as_numpy("y"))

# Two inputs and two outputs, in forms of their own.
a, b = np.arange(16, dtype=np.int32).reshape(1, 16), np.ones((1, 16), np.int32)
result = client.infer(
    "simple",
    [tensor("INPUT0", a, "INT32", binary_data=False), tensor("INPUT1", b, "INT32")],
    outputs=[
        http.InferRequestedOutput("OUTPUT0", binary_data=True),
        http.InferRequestedOutput("OUTPUT1", binary_data=False),
    ],
    priority=1,
    timeout=10_000_000,
    parameters={"mine": "anything"},
)
np.testing.assert_array_equal(a + b, result.as_numpy("OUTPUT0"))
np.testing.assert_array_equal(a - b, result.as_numpy("OUTPUT1"))

# Text and 16-bit floats; classes; what JSON has no number for.
text = np.array([["", "na\\u00efve \\u2603"]], np.object_)
for options in ({"binary_data": True}, {"binary_data": False}):
    for output in (True, False):
        outputs = [http.InferRequestedOutput("OUTPUT0", binary_data=output)]
        result = client.infer("text", [tensor("INPUT0", text, "BYTES", **options)], outputs=outputs)
        found = [item if isinstance(item, str) else item.decode() for item in
                 result.as_numpy("OUTPUT0").ravel()]
        assert found == text.ravel().tolist(), found
half = np.array([[0.5, -2.0]], np.float16)
result = client.infer("half", [tensor("INPUT0", half, "FP16")])
np.testing.assert_array_equal(half, result.as_numpy("OUTPUT0"))
result = client.infer(
    "labelled",
    [tensor("x", np.array([[0.25]], np.float32), "FP32")],
    outputs=[http.InferRequestedOutput("y", class_count=2)],
)
assert result.as_numpy("y").ravel().tolist() == [b"0.750000:0:cold", b"0.250000:1:warm"]
odd = np.array([[np.nan, np.inf]], np.float32)
result = client.infer(
    "float",
    [tensor("INPUT0", odd, "FP32", binary_data=False)],
    outputs=[http.InferRequestedOutput("OUTPUT0", binary_data=False)],
)
np.testing.assert_array_equal(odd, result.as_numpy("OUTPUT0"))

# Many at once, on its own greenlets.
pending = [client.async_infer("doubling", [tensor("x", X, "FP32")]) for _ in range(50)]
for request in pending:
    np.testing.assert_array_equal(2 * X, request.get_result().as_numpy("y"))

assert "unknown model" in refused(lambda: client.infer("nobody", [tensor("x", X, "FP32")]), "404")
refused(lambda: client.infer("doubling", [tensor("z", X, "FP32")]), "400")
refused(client.get_system_shared_memory_status, "501")
refused(client.get_trace_settings, "501")

client.unload_model("doubling")
assert not client.is_model_ready("doubling")
client.load_model("doubling")
assert client.is_model_ready("doubling")
stats = client.get_inference_statistics("simple")["model_stats"][0]
assert stats["inference_stats"]["success"]["count"] == 1, stats
assert len(client.get_inference_statistics()["model_stats"]) == 6
print("all answered")
"""

TRITON_AIO = """
import asyncio
import sys

import numpy as np
import tritonclient.http.aio as http

X = np.array([[1.0], [2.5]], np.float32)


async def main(address):
    client = http.InferenceServerClient(address)
    tensor = http.InferInput("x", [2, 1], "FP32")
    tensor.set_data_from_numpy(X)
    assert await client.is_server_ready()
    for result in await asyncio.gather(*(client.infer("doubling", [tensor]) for _ in range(20))):
        np.testing.assert_array_equal(2 * X, result.as_numpy("y"))
    await client.close()
    print("all answered")


asyncio.run(main(sys.argv[1]))
"""

KSERVE = """
import asyncio
import sys

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput

X = np.array([[1.0], [2.5]], np.float32)


async def main(url):
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_live(url)
    assert await client.is_server_ready(url)
    assert await client.is_model_ready(url, "doubling")
    assert not await client.is_model_ready(url, "nobody")
    for binary in (True, False):
        for outputs in (None, [RequestedOutput("y", parameters={"binary_data": True})]):
            tensor = InferInput("x", [2, 1], "FP32")
            tensor.set_data_from_numpy(X, binary_data=binary)
            request = InferRequest(
                model_name="doubling",
                infer_inputs=[tensor],
                request_id="7",
                request_outputs=outputs,
            )
            response = await client.infer(url, request, model_name="doubling")
            assert response.id == "7", response.id
            np.testing.assert_array_equal(2 * X, response.outputs[0].as_numpy())
    try:
        await client.infer(url, request, model_name="nobody")
    except httpx.HTTPStatusError as error:
        assert error.response.status_code == 404
        assert "Request for unknown model" in str(error)
    else:
        raise AssertionError("an unknown model was answered")
    await client.close()
    print("all answered")


asyncio.run(main(sys.argv[1]))
"""


@pytest.fixture(name="rest", scope="module")
def _rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    """A server with REST whose callers may load models."""
    from onnx import TensorProto

    from tests.support import models

    folder: Path = tmp_path_factory.mktemp("models")
    models.publish(folder, "doubling", models.doubling())
    models.publish(folder, "simple", models.simple())
    models.publish(folder, "labelled", models.labelled())
    models.publish(folder, "text", models.identity(TensorProto.STRING, (2,)))
    models.publish(folder, "half", models.identity(TensorProto.FLOAT16, (2,)))
    models.publish(folder, "float", models.identity(TensorProto.FLOAT, (2,)))
    port = free_port()
    flags = ("--model-control", "explicit", "--load-model", "*", "--workers", "2")
    with serving(folder, "--http-port", str(port), *flags):
        rest = Rest(port)
        assert eventually(lambda: rest.get("/v2/health/ready").status == 200)
        yield rest


@pytest.mark.parametrize("script", [TRITON, TRITON_AIO], ids=["sync", "aio"])
def test_tritonclient_is_answered_in_every_form(rest: Rest, script: str) -> None:
    """Health, metadata, control, statistics; binary and JSON, compressed and not; errors."""
    python = environment("tritonclient-http", "tritonclient[http]==2.73.0", "numpy<3")

    output = run(python, "-c", script, f"127.0.0.1:{rest.port}")

    assert "all answered" in output


def test_kserve_s_rest_client_is_answered_in_every_form(rest: Rest) -> None:
    """Health and inference, in JSON and as binary data, and the status of an unknown model."""
    python = environment(kserve.ENVIRONMENT, *kserve.REQUIREMENTS)

    output = run(python, "-c", KSERVE, f"http://127.0.0.1:{rest.port}")

    assert "all answered" in output
