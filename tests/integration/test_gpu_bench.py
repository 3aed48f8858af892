"""tests/bench/gpu.py runs from end to end where there is no device."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.page import PAGE

SCRIPT = Path(__file__).parents[1] / "bench" / "gpu.py"


@pytest.mark.slow
def test_its_trial_measures_all_but_the_device(tmp_path: Path) -> None:
    """Every network and size of the trial, server and loops; shown again from what was kept."""
    kept = tmp_path / "gpu.json"
    command = [sys.executable, str(SCRIPT)]
    trial = subprocess.run(
        [*command, "--provider", "cpu", "--quick", "--json", str(kept)],
        capture_output=True,
        text=True,
        timeout=400,
        check=True,
    )
    shown = subprocess.run(
        [*command, "--page", str(kept)], capture_output=True, text=True, timeout=60, check=True
    )
    results = json.loads(kept.read_text())

    assert results["failures"] == []
    assert results["cut"] == []
    cells = {(cell["network"], cell["batch"]): cell for cell in results["cells"]}
    networks = ("256-1024x4-32", "64-256-256-8", "1-13-1")
    assert set(cells) == {(network, batch) for network in networks for batch in (1, 64)}
    for (_, batch), cell in cells.items():
        assert cell["loops"]["CPU"]["rows_per_s"] > 0
        assert cell["whole"]["rows"] == batch
        assert cell["half"]["p99_ms"] > 0
        assert bool(cell["single"]) == (batch == 64)
    assert cells["256-1024x4-32", 64]["several"]["rows_per_s"] > 0
    assert shown.stdout == trial.stdout
    assert "no device: not asked for" in shown.stdout
    assert {one["provider"] for one in results["placed"]} == {"cpu"}


def test_asked_for_cuda_it_says_why_there_is_none(tmp_path: Path) -> None:
    """With no time left it measures nothing, says so, and keeps what it knows."""
    from isotherm.server.device.probe import cuda_problem

    problem = cuda_problem()
    if problem is None:
        pytest.skip("there is a device")
    result = subprocess.run(
        [sys.executable, str(SCRIPT), "--seconds", "0", "--json", str(tmp_path / "gpu.json")],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )

    before = PAGE.read_text()
    refused = subprocess.run(
        [sys.executable, str(SCRIPT), "--page", str(tmp_path / "gpu.json"), "--write"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert refused.returncode == 1
    assert f"docs/performance.md stays as it is: {problem}" in refused.stderr
    assert PAGE.read_text() == before
    assert f"CUDA: no device: {problem}" in result.stdout
    assert "Left out for want of time: all of 256-1024x4-32" in result.stdout
