"""ONNX Runtime without its telemetry."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import models

SERVER = "from isotherm.server.session import Session as load; from pathlib import Path; "
SERVER += "load(open(MODEL, 'rb').read(), Path('.'), [('CPUExecutionProvider', {})])"
TRAINER = "from isotherm.trainer.parity import runtime; "
TRAINER += "runtime().InferenceSession(MODEL, providers=['CPUExecutionProvider'])"
PLAIN = "import onnxruntime; onnxruntime.InferenceSession(MODEL)"


def files_left(tmp_path: Path, script: str) -> list[Path]:
    """Run a script with an empty home; return what it left there."""
    home = tmp_path / "home"
    home.mkdir()
    model = models.publish(tmp_path, "doubling", models.doubling())
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    # The runtime also keeps quiet where it sees a CI system.
    environment = {k: v for k, v in environment.items() if k not in {"CI", "XDG_CACHE_HOME"}}
    subprocess.run(
        [sys.executable, "-c", script.replace("MODEL", repr(str(model)))],
        env=environment | {"HOME": str(home)},
        check=True,
        timeout=60,
    )
    return [path for path in home.rglob("*") if path.is_file()]


@pytest.mark.parametrize("script", [SERVER, TRAINER], ids=["server", "trainer"])
def test_loading_a_model_leaves_no_device_id_behind(tmp_path: Path, script: str):
    """Neither part reports to the runtime's maker."""
    assert files_left(tmp_path, script) == []


def test_the_plain_runtime_would(tmp_path: Path):
    """The control: without the switch, the same model leaves a trace."""
    assert any(path.name == "deviceid" for path in files_left(tmp_path, PLAIN))
