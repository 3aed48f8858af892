"""`isotherm doctor` says of a GPU machine what NVIDIA's own program says."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.gpu.conftest import why_not

DOCTOR = [sys.executable, "-m", "isotherm.client.cli", "doctor"]


def examined(*flags: str) -> tuple[int, Any]:
    """Return the exit status and the report."""
    result = subprocess.run(
        [*DOCTOR, "--json", *flags], capture_output=True, text=True, timeout=60, check=False
    )
    return result.returncode, json.loads(result.stdout)


@pytest.mark.gpu
def test_it_sees_what_nvidia_smi_sees() -> None:
    """Driver, name, memory; a session on CUDA that really ran; and nothing that blocks."""
    if why_not():
        pytest.skip(why_not())
    fields = ("name", "driver_version", "memory.total", "uuid")
    query = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    lines = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
    seen = [dict(zip(fields, line.split(", "), strict=True)) for line in lines]
    status, report = examined("--provider", "cuda")

    assert status == 0, report["problems"]
    assert report["works"]
    assert report["driver"]["release"] == seen[0]["driver_version"]
    assert [device["name"] for device in report["devices"]] == [one["name"] for one in seen]
    assert report["devices"][0]["uuid"].removeprefix("GPU-") in seen[0]["uuid"]
    assert (
        abs(report["devices"][0]["memory_bytes"] / 2**20 / float(seen[0]["memory.total"]) - 1)
        < 0.05
    )
    works = {one["provider"]: one["works"] for one in report["providers"]}
    assert works["CUDAExecutionProvider"]
    paths = {library["soname"]: library["path"] for library in report["libraries"]}
    assert all(paths.values()), paths


def test_it_says_why_there_is_none() -> None:
    """Asked for CUDA where it cannot be had, it fails with the server's own reason."""
    if not why_not():
        pytest.skip("there is a device")
    status, report = examined("--provider", "cuda")

    assert status == 1
    assert not report["works"]
    blocking = " ".join(f"{one['text']}; {one['remedy']}" for one in report["problems"])
    assert why_not().partition(";")[0] in blocking
