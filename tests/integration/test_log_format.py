"""`--log-format json`: every line of every process is an object, as docs/logs.md describes it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support import models
from tests.support.ports import free_port
from tests.support.rest import Rest
from tests.support.server import failing, serving

PAGE = (Path(__file__).parents[2] / "docs" / "logs.md").read_text()
DOCUMENTED = {
    *re.findall(r"^\| `(\w+)` ", PAGE.partition("## JSON")[2].partition("## The")[0], re.MULTILINE)
}


def test_every_line_of_a_servers_life_is_an_object(tmp_path: Path) -> None:
    """Of the supervisor, the worker and the gateway, to the end."""
    models.publish(tmp_path, "mlp", models.mlp())
    port = free_port()
    flags = ("--log-format", "json", "--log-level", "debug", "--http-port", str(port))
    with serving(tmp_path, *flags) as server:
        Rest(port).get("/nothing")
        server.stop()
        lines = [json.loads(line) for line in server.log.splitlines()]

    assert {line["process"] for line in lines} == {"isotherm", "worker-0", "gateway"}
    for line in lines:
        assert DOCUMENTED - {"exception"} == {*line}
        age = datetime.now(UTC) - datetime.strptime(line["time"], "%Y-%m-%dT%H:%M:%S.%f%z")
        assert timedelta(0) <= age < timedelta(minutes=2)
    assert "stopped: every accepted call was answered" in {line["message"] for line in lines}


def test_what_ends_the_vetter_is_an_object_too() -> None:
    """With the traceback in one line."""
    done = subprocess.run(
        [sys.executable, "-m", "isotherm.server.vetting", "json"],
        input="no request\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    (line,) = (json.loads(line) for line in done.stderr.splitlines())

    assert done.returncode == 1
    assert (line["process"], line["level"]) == ("vetter", "CRITICAL")
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert {*line} == DOCUMENTED


def test_why_a_server_does_not_start_is_an_object(tmp_path: Path) -> None:
    """As everything that it says."""
    status, text = failing(tmp_path / "nowhere", "--log-format", "json")
    lines = [json.loads(line) for line in text.splitlines()]

    assert status == 1
    assert "nowhere" in lines[-1]["message"]
    assert lines[-1]["level"] == "CRITICAL"
