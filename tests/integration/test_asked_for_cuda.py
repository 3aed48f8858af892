"""A server that is asked for CUDA on a machine that cannot give it, whatever the reason."""

from __future__ import annotations

from pathlib import Path

import grpc
import onnxruntime as ort
import pytest

from isotherm.v1 import open_inference_pb2 as pb
from tests.support.nvidia import NO_DEVICE, Machine
from tests.support.rpc import call
from tests.support.server import failing, serving

# The runtime is this environment's, without CUDA, under the other one's name.
WITHOUT_DRIVER = Machine(session=None, devices=None)
WHOLE = Machine(session=None)

pytestmark = pytest.mark.skipif(
    "CUDAExecutionProvider" in ort.get_available_providers(),
    reason="this onnxruntime is built with CUDA",
)


def live_on(machine: Machine, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lead every process that a test starts to a machine's libraries."""
    for name, value in machine.environment(folder).items():
        monkeypatch.setenv(name, value)


needs_compiler = pytest.mark.slow


def test_without_the_package_for_it(repository: Path) -> None:
    """What this environment really has."""
    status, text = failing(repository, "--provider", "cuda")

    assert status == 1
    assert text.endswith(
        "isotherm serve: --provider cuda: this onnxruntime is built without CUDA; "
        "pip uninstall -y onnxruntime && pip install 'isotherm[server-gpu]'\n"
    )
    assert "Traceback" not in text
    assert text.count("--provider cuda") == 1


@needs_compiler
@pytest.mark.parametrize(
    ("machine", "visible", "reason", "remedy"),
    [
        pytest.param(
            WITHOUT_DRIVER,
            None,
            "no NVIDIA driver (libcuda.so.1: cannot open",
            "or a limit of nvidia.com/gpu), elsewhere install NVIDIA's driver, 580 or newer",
            id="no driver",
        ),
        pytest.param(
            WHOLE.instead(cuda=12040),
            None,
            "the NVIDIA driver runs CUDA 12.4 at the most, and this onnxruntime is built with 13.0",
            "update NVIDIA's driver to 580 or newer",
            id="old driver",
        ),
        pytest.param(
            WHOLE.instead(status=NO_DEVICE),
            None,
            "the NVIDIA driver shows no device to this process",
            "in a container pass the GPU in (docker run --gpus all,",
            id="no device",
        ),
        pytest.param(
            WHOLE,
            "",
            "CUDA_VISIBLE_DEVICES is '', which leaves no device",
            "unset it, or name devices that nvidia-smi -L lists",
            id="hidden",
        ),
        pytest.param(
            WHOLE.instead(broken=("libcublas.so.13",)),
            None,
            "CUDA libraries cannot be loaded (",
            "pip install 'isotherm[server-gpu]', which has them",
            id="no library",
        ),
    ],
)
def test_it_says_what_is_missing_and_what_mends_it(
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    machine: Machine,
    visible: str | None,
    reason: str,
    remedy: str,
) -> None:
    """In one sentence, once, with a status that is an error's."""
    live_on(machine, tmp_path / "machine", monkeypatch)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    status, text = failing(repository, "--provider", "cuda")

    assert status == 1
    assert f"isotherm serve: --provider cuda: {reason}" in text
    assert remedy in text
    assert "Traceback" not in text
    assert text.count("--provider cuda") == 1


@needs_compiler
def test_a_device_that_is_not_there(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flag, and how many there are."""
    live_on(WHOLE.instead(devices=2), tmp_path / "machine", monkeypatch)
    status, text = failing(repository, "--provider", "cuda", "--device-ids", "2")

    assert status == 1
    assert "--device-ids names device 2: the driver shows 2, counted from 0" in text
    assert "Traceback" not in text


@needs_compiler
def test_auto_serves_all_the_same_and_everybody_can_see_why(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the log, in a metric that is alerted on, and in the model's configuration."""
    live_on(WITHOUT_DRIVER, tmp_path / "machine", monkeypatch)
    with (
        serving(repository, "--provider", "auto") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        config = call(channel, "ModelConfig", pb.ModelConfigRequest(name="doubling")).config
        fallback = server.metric('isotherm_provider_fallback{model="doubling",version="1"}')
        log = server.log

    note = config.parameters["isotherm.provider_note"].string_value
    assert "WARNING worker-0 provider auto took cpu: no NVIDIA driver (libcuda.so.1" in log
    assert fallback == 1
    assert config.parameters["isotherm.provider"].string_value == "cpu"
    assert note.startswith("no NVIDIA driver (libcuda.so.1")
