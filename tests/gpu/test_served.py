"""A whole server on the device: the provider is really CUDA, and the answers are torch's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from isotherm.v1 import contract as contracts
from isotherm.v1 import open_inference_pb2 as pb
from tests.conftest import EXAMPLES
from tests.gpu.conftest import CUDA, answers, rows, why_not
from tests.support import models
from tests.support.rpc import call, infer_request, outputs_of
from tests.support.server import Server, serving

TARGET = (256, 1024, 1024, 1024, 1024, 32)
TOLERANCE = 3e-5


def config_of(channel: grpc.Channel, model: str) -> Any:
    """Return a model's ModelConfig."""
    return call(channel, "ModelConfig", pb.ModelConfigRequest(name=model)).config


def parameter(config: Any, name: str) -> str:
    """Return one of the parameters beside it, empty where it is not there."""
    return str(config.parameters[f"isotherm.{name}"].string_value)


def asked(channel: grpc.Channel, model: str, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a model's answer."""
    answer = call(channel, "ModelInfer", infer_request(model, x=x), timeout=60)
    return outputs_of(answer)["y"]


def test_the_thermometer_is_served_from_the_device(provider: str, transport: str) -> None:
    """Asked for by name, seen in metrics and metadata; the golden rows are answered as by torch."""
    flags = ("--provider", provider, "--transport", transport)
    with serving(EXAMPLES, *flags) as server, grpc.insecure_channel(server.address) as channel:
        config = config_of(channel, "thermometer")
        contract = contracts.loads(config.parameters["isotherm.contract"].string_value)
        golden = contract.golden
        inputs = np.array(golden.inputs, np.float32).reshape(golden.rows, -1)
        answer = call(channel, "ModelInfer", infer_request("thermometer", x=inputs))
        metrics = server.get("/metrics")[1]

    expected = np.array(golden.outputs, np.float32).reshape(golden.rows, -1)
    np.testing.assert_allclose(
        outputs_of(answer)[contract.tensors.prediction],
        expected,
        rtol=golden.relative_tolerance,
        atol=golden.absolute_tolerance,
    )
    kinds = {"cuda": pb.ModelInstanceGroup.KIND_GPU, "cpu": pb.ModelInstanceGroup.KIND_CPU}
    assert config.instance_group[0].kind == kinds[provider]
    assert parameter(config, "provider") == provider
    assert f'model="thermometer",provider="{provider}"' in metrics


@pytest.mark.parametrize("provider", [CUDA])
def test_auto_answers_right_on_both_sides_of_its_break_even(provider: str, tmp_path: Path) -> None:
    """The wide network goes to the device, and small batches of it wherever they are faster."""
    if why_not():
        pytest.skip(why_not())
    network = models.mlp(TARGET)
    models.publish(tmp_path, "wide", network)
    models.publish(tmp_path, "small", models.mlp())
    with serving(tmp_path) as server, grpc.insecure_channel(server.address) as channel:
        config = config_of(channel, "wide")
        break_even = int(parameter(config, "break_even_rows"))
        small = parameter(config_of(channel, "small"), "break_even_rows")
        around = {max(1, break_even + more) for more in (-1, 0, 1)}
        off = {}
        for size in sorted({1, 2, *around, 512, 1500}):
            x = rows(size, TARGET[0], size)
            off[size] = float(np.abs(asked(channel, "wide", x) - answers(network, x)).max())
        exported = server.metric('isotherm_model_break_even_rows{model="wide",version="1"}')
        fell_back = server.metric('isotherm_provider_fallback{model="wide",version="1"}')
        memory = server.metric('isotherm_model_device_memory_bytes{model="wide",version="1"}')

    assert {size: error for size, error in off.items() if error > TOLERANCE} == {}
    assert parameter(config, "provider") == provider
    assert 1 <= break_even <= 1024
    assert exported == break_even
    assert small.isdecimal()
    assert fell_back == 0
    # The weights alone, of one lane.
    assert memory > 4 * (256 * 1024 + 3 * 1024**2 + 1024 * 32)


def test_auto_without_a_device_says_so(tmp_path: Path) -> None:
    """The same server where there is none: right answers, and a metric to alert on."""
    if not why_not():
        pytest.skip("there is a device")
    network = models.mlp(TARGET)
    models.publish(tmp_path, "wide", network)
    with serving(tmp_path) as server, grpc.insecure_channel(server.address) as channel:
        config = config_of(channel, "wide")
        x = rows(5, TARGET[0])
        off = float(np.abs(asked(channel, "wide", x) - answers(network, x)).max())
        fell_back = server.metric('isotherm_provider_fallback{model="wide",version="1"}')
        log = server.log

    assert off < TOLERANCE
    assert parameter(config, "provider") == "cpu"
    assert "provider auto took cpu: " + parameter(config, "provider_note") in log
    assert fell_back == 1


@pytest.mark.parametrize("size", [1, 63, 64, 1000, 5000])
def test_digits_are_float32s(served: Server, size: int) -> None:
    """TF32 is off: a regression keeps its digits, at every batch size."""
    with grpc.insecure_channel(served.address) as channel:
        x = rows(size, 64, size)
        y = asked(channel, "wide", x)

    assert float(np.abs(y - answers(models.mlp((64, 256, 256, 8)), x)).max()) < TOLERANCE


@pytest.fixture(name="served", scope="module", params=[CUDA, "cpu"])
def _served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server of one network."""
    if request.param == "cuda" and why_not():
        pytest.skip(why_not())
    folder = tmp_path_factory.mktemp("served")
    models.publish(folder, "wide", models.mlp((64, 256, 256, 8)))
    with serving(folder, "--provider", request.param) as server:
        yield server


@pytest.mark.gpu
@pytest.mark.parametrize("graphs", ["--cuda-graphs", "--no-cuda-graphs"])
def test_graphs_are_used_unless_they_are_switched_off(tmp_path: Path, graphs: str) -> None:
    """Small batches of five layers are bound by launches; either way the answers are the same."""
    if why_not():
        pytest.skip(why_not())
    network = models.mlp(TARGET)
    models.publish(tmp_path, "wide", network)
    flags = ("--provider", "cuda", "--max-batch-size", "16", graphs)
    with serving(tmp_path, *flags) as server, grpc.insecure_channel(server.address) as channel:
        off = {}
        for size in (16, 3, 1, 16, 3):
            x = rows(size, TARGET[0], size)
            off[size] = float(np.abs(asked(channel, "wide", x) - answers(network, x)).max())
        sizes = server.metric('isotherm_model_cuda_graphs{model="wide",version="1"}')

    assert {size: error for size, error in off.items() if error > TOLERANCE} == {}
    assert (sizes > 0) == (graphs == "--cuda-graphs")


@pytest.mark.gpu
def test_tf32_would_be_seen(tmp_path: Path) -> None:
    """What the digits are held to above tells the two apart on this device."""
    if why_not():
        pytest.skip(why_not())
    import onnxruntime as ort

    network = models.mlp((64, 256, 256, 8))
    options = {"device_id": "0", "use_tf32": "1"}
    session = ort.InferenceSession(
        network.SerializeToString(), providers=[("CUDAExecutionProvider", options)]
    )
    x = rows(4096, 64)
    (y,) = session.run(None, {"x": x})

    # A device older than Ampere has no TF32 to be seen.
    assert float(np.abs(np.asarray(y) - answers(network, x)).max()) > TOLERANCE
