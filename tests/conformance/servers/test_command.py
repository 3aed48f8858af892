"""The `isotherm` command against every server: health, description, a file from end to end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from isotherm.client import Client
from tests.conformance.servers.peers import Running

# More than any of them takes at once.
ROWS = 5000
FEATURES = 4


def isotherm(running: Running, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "isotherm.client.cli", *map(str, arguments)]
    return subprocess.run(
        [*command, "--address", running.address, "--timeout", "30"],
        capture_output=True,
        text=True,
        check=False,
        env={"COLUMNS": "120"},
    )


@pytest.mark.parametrize("arguments", [[], ["wide"]])
def test_health_is_told_whatever_the_server_has_for_it(
    running: Running, arguments: list[str]
) -> None:
    """Some have grpc.health.v1, one has it for itself alone, some have it not."""
    done = isotherm(running, "health", *arguments)

    assert (done.stdout, done.returncode) == ("SERVING\n", 0), done.stderr


def test_a_model_that_is_not_there_does_not_serve(running: Running) -> None:
    """Also where the server's health service says so of every name."""
    done = isotherm(running, "health", "absent")

    assert done.returncode == 1
    assert "SERVING\n" != done.stdout


def test_a_model_without_a_contract_is_described(running: Running) -> None:
    """By its tensors."""
    done = isotherm(running, "inspect", "simple")

    assert done.returncode == 0, done.stderr
    for name in ("INPUT0", "INPUT1", "OUTPUT0", "OUTPUT1"):
        assert name in done.stdout
    assert "note: " in done.stderr
    assert "contract" in done.stderr


def test_a_file_goes_through(running: Running, tmp_path: Path) -> None:
    """Every row of it, in its order."""
    path, output = tmp_path / "rows.csv", tmp_path / "out.csv"
    rows = np.random.default_rng(1).normal(size=(ROWS, FEATURES)).astype(np.float32)
    np.savetxt(path, rows, delimiter=",", fmt="%.9g")

    done = isotherm(running, "predict", "wide", "--data", path, "--output", output)

    assert (done.returncode, done.stderr) == (0, "")
    written = np.genfromtxt(output, delimiter=",", names=True)
    assert len(written) == ROWS
    found = np.column_stack([written[name] for name in written.dtype.names or ()])
    np.testing.assert_array_equal(found[:, :FEATURES].astype(np.float32), rows)
    with Client(running.address, timeout=30) as client:
        for start in range(0, ROWS, 1000):
            expected = client.predict("wide", rows[start : start + 1000], outputs="y")
            np.testing.assert_allclose(
                found[start : start + 1000, FEATURES:], expected, rtol=1e-5, atol=1e-6
            )
