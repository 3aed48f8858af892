"""NVIDIA's `perf_analyzer`, a C++ client: it finds its way by metadata, and checks the answers."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.environments import environment
from tests.support.server import Server

# The last release whose wheel has the binary for this age of C library.
REQUIREMENTS = ("tritonclient[grpc]==2.51.0", "nvidia-cuda-runtime-cu12")


def perf_analyzer(server: Server, data: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run the binary against the model that doubles."""
    packages = environment("perf-analyzer", *REQUIREMENTS).parent.parent
    (library,) = packages.glob("lib/python*/site-packages/nvidia/cuda_runtime/lib")
    return subprocess.run(
        [
            packages / "bin" / "perf_analyzer",
            *("-m", "doubling", "-i", "grpc", "-u", server.address, "--input-data", str(data)),
            *("--concurrency-range", "4", "--measurement-interval", "1000"),
            *("--stability-percentage", "999", *flags),
        ],
        env=os.environ | {"LD_LIBRARY_PATH": str(library)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def input_data(path: Path, expected: float) -> Path:
    """Write one input and the output that must come for it."""
    content = {
        "data": [{"x": {"content": [21.0], "shape": [1]}}],
        "validation_data": [{"y": {"content": [expected], "shape": [1]}}],
    }
    path.write_text(json.dumps(content))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--streaming",)], ids=["unary", "stream"])
def test_it_measures_and_finds_every_answer_right(
    server: Server, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """Also the server's own statistics, which it prints as queue and compute times."""
    result = perf_analyzer(server, input_data(tmp_path / "data.json", 42.0), *flags)

    assert result.returncode == 0, result.stdout + result.stderr
    assert "Throughput:" in result.stdout
    assert "Inference count:" in result.stdout


@pytest.mark.slow
def test_it_would_notice_a_wrong_answer(server: Server, tmp_path: Path) -> None:
    """The control: with another expectation, the same run fails."""
    result = perf_analyzer(server, input_data(tmp_path / "data.json", 43.0))

    assert result.returncode != 0
    assert "doesn't match expected output" in result.stdout + result.stderr
