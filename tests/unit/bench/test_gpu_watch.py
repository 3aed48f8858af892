"""What tests/bench/gpu.py says was busy, and on which machine."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bench.gpus import facts, watch

SMI = """#!/bin/sh
case "$*" in
  *utilization.gpu*) echo 37 ;;
  *) echo "NVIDIA H100 80GB HBM3, 81559 MiB, 580.159.04" ;;
esac
"""


@pytest.fixture(name="_smi")
def _nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that answers as NVIDIA's does."""
    program = tmp_path / "nvidia-smi"
    program.write_text(SMI)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


def test_the_busiest_thread_is_told_from_the_rest() -> None:
    """A process with one thread that computes, and one that sleeps."""
    code = (
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(30,), daemon=True).start()\n"
        "print(flush=True)\n"
        "while True: pass"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with watch.Watch([process.pid], lambda: 0.5) as seen:
            time.sleep(0.6)
        process.kill()

    assert 0.05 < seen.busiest_thread <= 1.1
    assert seen.cpus == pytest.approx(seen.busiest_thread, abs=0.05)
    assert seen.device == pytest.approx(0.5)


def test_where_nobody_tells_the_device_is_not_idle() -> None:
    """No figure is not a figure of zero."""
    with watch.Watch([], lambda: None) as seen:
        time.sleep(0.15)

    assert seen.device is None


@pytest.mark.usefixtures("_smi")
def test_nvidia_smi_is_asked_where_its_library_is_not_to_be_had() -> None:
    """Utilisation in percent, and what the page calls the machine."""
    pynvml = pytest.importorskip("pynvml")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        assert watch.utilisation()() == pytest.approx(0.37)
    machine = facts.machine()

    assert machine[:2] == ["NVIDIA H100 80GB HBM3 (81559 MiB)", "driver 580.159.04"]
    assert any(clause.startswith("onnxruntime") for clause in machine)
