"""Log lines: UTC, the level, whose line it is."""

from __future__ import annotations

import json
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


def objects(program: str) -> list[dict[str, object]]:
    """Return the lines of a process that logs in JSON, and then does something."""
    result = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import logging, threading, warnings; from isotherm.server import logs\n"
            "logs.configure('info', process='worker-3', form='json')\n"
            "log = logging.getLogger('x')\n" + program,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"TZ": "Asia/Kathmandu"},
    )
    return [json.loads(line) for line in result.stderr.splitlines()]


def test_in_json_a_line_is_an_object():
    """Whatever is said in it."""
    (line,) = objects("log.info('%s\\n{\"', 'caf\u00e9 \\udc80')")

    assert line.pop("time")
    assert line == {
        "level": "INFO",
        "process": "worker-3",
        "logger": "x",
        "message": 'caf\u00e9 \udc80\n{"',
    }


def test_in_json_fields_are_members():
    """Numbers stay numbers."""
    (line,) = objects("log.info(logs.Fields('answered', rows=3, id=logs.Quoted('a\"b')))")

    assert line.pop("time")
    assert line == {
        "level": "INFO",
        "process": "worker-3",
        "logger": "x",
        "message": "answered",
        "rows": 3,
        "id": 'a"b',
    }


@pytest.mark.parametrize(
    ("program", "level"),
    [
        ("try: 1 / 0\nexcept ZeroDivisionError: log.exception('no')", "ERROR"),
        ("1 / 0", "CRITICAL"),
        (
            "thread = threading.Thread(target=lambda: 1 / 0)\nthread.start()\nthread.join()",
            "CRITICAL",
        ),
    ],
)
def test_in_json_an_exception_is_in_the_line(program: str, level: str):
    """Logged, or the end of a thread or of the process."""
    (line,) = objects(program)

    assert line["level"] == level
    assert str(line["exception"]).startswith("Traceback (most recent call last):\n")
    assert str(line["exception"]).endswith("ZeroDivisionError: division by zero")


def test_in_json_a_warning_is_a_line_too():
    """Python would print it otherwise."""
    (line,) = objects("warnings.warn('old')")

    assert (line["level"], line["logger"]) == ("WARNING", "py.warnings")
    assert "UserWarning: old" in str(line["message"])
