"""The `isotherm` command in processes of its own, against the real server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from tests.support.server import eventually


def _isotherm(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "isotherm.client.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_predict_answers_with_the_contracts_names(server):
    """Names from the contract; a value beyond the training range gets a note."""
    done = _isotherm("predict", "doubling", "-2.5", 30, "--format", "json", *_at(server))

    assert json.loads(done.stdout) == [
        {"reading": -2.5, "twice": -5.0},
        {"reading": 30.0, "twice": 60.0},
    ]
    assert "outside the training range -10 to 10 degF, such as 30" in done.stderr


def test_predict_names_the_row_that_is_refused(server):
    """By what the contract says of such values; exit status 1."""
    done = _isotherm("predict", "doubling", "nan", *_at(server))

    assert (done.returncode, done.stdout) == (1, "")
    assert re.match(r"error: the command line, row 1: .* has nan for 'reading'", done.stderr)


@pytest.mark.parametrize("arguments", [[], ["doubling"], ["--service", "liveness"]])
def test_health_is_serving(server, arguments):
    """The server, a model, and the process itself."""
    done = _isotherm("health", *arguments, *_at(server))

    assert (done.returncode, done.stdout) == (0, "SERVING\n"), done.stderr


def test_inspect_shows_the_same_contract_from_the_file_and_from_the_server(server, repository):
    """What was published is what is served."""
    from_file = _isotherm("inspect", repository / "doubling", "--json")
    from_server = _isotherm("inspect", "doubling", "--json", *_at(server))

    assert from_file.returncode == 0, from_file.stderr
    assert from_file.stdout == from_server.stdout


@pytest.mark.slow
def test_the_demo_goes_the_whole_way(tmp_path):
    """Train, serve, predict, measure, stop: each with its result on the screen."""
    done = _isotherm("demo", "--directory", tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    for part in (
        f"published {tmp_path}/models/thermometer/1/model.onnx",
        "network",
        "90% interval",
        "1000 calls of one row, one after the other: p50 ",
        "4000 calls of one row, 64 in flight",
        "SIGTERM: the server drained and exited with 0",
        str(tmp_path / "plots"),
    ):
        assert part in done.stdout.replace("\n", ""), part
    assert list((tmp_path / "plots").glob("*.png"))


@pytest.mark.slow
def test_a_demo_that_is_stopped_leaves_no_process_behind(tmp_path):
    """SIGTERM in the middle ends the server as well."""
    command = [sys.executable, "-m", "isotherm.client.cli", "demo", "--directory", str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith("serving on"):
                break
        demo.terminate()
        demo.stdout.read()
        status = demo.wait(60)

    assert status == 128 + signal.SIGTERM
    assert eventually(lambda: not _group_lives(demo.pid))


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _at(server):
    return "--address", server.address
