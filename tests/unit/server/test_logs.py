"""Log lines: UTC, the level, whose line it is."""

from __future__ import annotations

import subprocess
import sys

import pytest

from isotherm.server.logs import LEVELS


def written(level: str) -> str:
    """Return what a process with that level logs when it logs at every level."""
    program = (
        "import logging, sys; from isotherm.server import logs\n"
        "logs.configure(sys.argv[1], process='worker-3')\n"
        "for name in logs.LEVELS: getattr(logging.getLogger('x'), name)('said at %s', name)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, level],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={"TZ": "Asia/Kathmandu"},
    )
    assert result.stdout == ""
    return result.stderr


@pytest.mark.parametrize("level", ["debug", "error"])
def test_what_is_below_the_level_is_left_out(level: str):
    """Lines go to standard error."""
    said = [line.rpartition(" ")[2] for line in written(level).splitlines()]

    assert said == list(LEVELS[LEVELS.index(level) :])


def test_a_line_begins_with_the_time_in_utc():
    """Wherever the machine thinks it is, followed by level and process."""
    from datetime import UTC, datetime, timedelta

    stamp, rest = written("error").rstrip().split(" ", 1)
    age = datetime.now(UTC) - datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S.%f%z")

    assert timedelta(0) <= age < timedelta(minutes=2)
    assert rest == "ERROR worker-3 said at error"
