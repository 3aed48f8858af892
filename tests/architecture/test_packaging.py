"""The distribution as users install it: a wheel in a fresh environment, without the source tree."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isotherm.server.device import libraries
from tests.support.environments import ROOT, environment, install, pip, run
from tests.support.ports import free_port
from tests.support.server import eventually

pytestmark = pytest.mark.slow


@pytest.fixture(name="wheel", scope="module")
def _wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the tree."""
    folder = tmp_path_factory.mktemp("dist")
    pip(Path(sys.executable), "wheel", "--no-deps", "--wheel-dir", str(folder), ".")
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_the_bare_wheel_is_the_client_alone(wheel: Path) -> None:
    """grpcio, numpy and protobuf come with it, and the command says what it needs."""
    python = environment("bare")
    install(python, "--force-reinstall", str(wheel))
    command = python.with_name("isotherm")

    installed = {line.partition("==")[0] for line in pip(python, "freeze").splitlines()}
    run(python, "-c", "from isotherm.client import Client, AsyncClient")
    result = subprocess.run(
        [command, "predict"], capture_output=True, text=True, check=False, timeout=60
    )

    assert {"grpcio", "numpy", "protobuf", "typing_extensions"} >= {
        name for name in installed if not name.startswith("isotherm")
    }
    assert result.returncode != 0
    assert "pip install 'isotherm[cli]'" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.fixture(name="server_environment", scope="module")
def _server_environment(wheel: Path) -> tuple[Path, float]:
    """An environment with the wheel's server extra, and when its installation began."""
    started = time.monotonic()
    python = environment("server")
    install(python, "--force-reinstall", f"{wheel}[server,cli]")
    return python, started


def test_from_install_to_a_prediction_without_torch(
    server_environment: tuple[Path, float],
) -> None:
    """Install, serve the example, predict: the README's second quick start."""
    python, started = server_environment
    command = str(python.with_name("isotherm"))
    grpc_port, metrics_port = str(free_port()), str(free_port())
    server = subprocess.Popen(
        [
            *(command, "serve", "examples/models"),
            *("--grpc-port", grpc_port, "--metrics-port", metrics_port),
        ],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"127.0.0.1:{grpc_port}"
        healthy = [command, "health", "--address", address]
        ready = eventually(
            lambda: subprocess.run(healthy, capture_output=True, check=False).returncode == 0, 60
        )
        predict = [command, "predict", "thermometer", "35.7", "--address", address]
        output = subprocess.run(predict, capture_output=True, text=True, check=False, timeout=60)
        elapsed_s = time.monotonic() - started
    finally:
        server.terminate()
        status = server.wait(60)
    installed = pip(python, "freeze")

    assert ready
    assert output.returncode == 0, output.stderr
    assert "35.7" in output.stdout
    assert status == 0
    assert "torch" not in installed
    print(f"install to answer: {elapsed_s:.1f} s")


@pytest.mark.parametrize("extra", ["all", "all-gpu"])
def test_the_extras_resolve(extra: str) -> None:
    """One machine can train and serve; the two runtimes never meet."""
    python = environment("resolve")
    arguments = ("install", "--dry-run", "--constraint", "constraints.txt", "--report", "-")
    report = pip(python, *arguments, f".[{extra}]")

    names = {item["metadata"]["name"] for item in json.loads(report)["install"]}
    assert {"torch", "onnx", "grpcio", "prometheus_client"} <= {n.replace("-", "_") for n in names}
    assert ("onnxruntime-gpu" in names) == (extra == "all-gpu")
    assert ("onnxruntime" in names) == (extra == "all")
    if extra == "all-gpu":
        packages = {library.package for library in libraries.NEEDED}
        assert {*packages, "nvidia-ml-py"} <= names


def test_the_doctor_needs_no_more_than_the_command_line(wheel: Path) -> None:
    """Where nothing else is installed it says so, with what to install."""
    python = environment("doctor")
    install(python, "--force-reinstall", f"{wheel}[cli]")
    result = subprocess.run(
        [python.with_name("isotherm"), "doctor", "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    found = json.loads(result.stdout)

    assert result.stderr == ""
    assert result.returncode == 1
    assert [name for name, there in found["extras"].items() if there] == ["cli"]
    assert found["onnxruntime"] == {"packages": [], "cuda": None}
    assert found["torch"] is None
    assert found["problems"][0]["text"] == "ONNX Runtime is not installed"
