"""What the machine is: its device, its versions; and why there is no device."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from contextlib import suppress
from importlib import metadata
from pathlib import Path

PACKAGES = ("onnxruntime-gpu", "onnxruntime", "torch", "grpcio", "numpy")


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


def machine() -> list[str]:
    """Return the device, the driver, the processors and the versions, each as a clause."""
    match = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    clauses = [*_devices(), f"{processors()} cores ({match[1] if match else platform.machine()})"]
    clauses.append(f"Python {platform.python_version()}")
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            clauses.append(f"{name} {metadata.version(name)}")
    return clauses


def no_device() -> str:
    """Return why ONNX Runtime cannot use CUDA here, as the server tells it; empty where it can."""
    from isotherm.server.device import probe

    return probe.cuda_problem() or ""


def no_torch() -> str:
    """Return why torch cannot use CUDA here; empty where it can."""
    try:
        from tests.bench.gpus import by_torch
    except ImportError as error:
        return str(error)
    return by_torch.problem()


def _devices() -> list[str]:
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    with suppress(OSError, subprocess.SubprocessError):
        text = subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout
        name, memory, driver = text.splitlines()[0].split(", ")
        return [f"{name} ({memory})", f"driver {driver}"]
    return []
