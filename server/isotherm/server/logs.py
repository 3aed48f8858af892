"""Logging set-up, called by the processes' entry points only."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from types import TracebackType
from typing import Final

LEVELS: Final = ("debug", "info", "warning", "error")
# Above all of them: nothing is logged.
OFF: Final = "critical"

_log = logging.getLogger(__name__)


class Quoted(str):
    """A field's text that is not ours: quoted in a line of text, so that none can be forged."""

    __slots__ = ()


class Fields:
    """A message that is fields: `name=value` in a line of text, members of an object in JSON."""

    def __init__(self, event: str, **fields: str | int) -> None:
        """`event` says in JSON what the fields are about."""
        self.event = event
        self.fields = fields

    def __str__(self) -> str:
        return " ".join(
            f"{name}={json.dumps(value) if isinstance(value, Quoted) else value}"
            for name, value in self.fields.items()
        )


class _UtcFormatter(logging.Formatter):
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    @staticmethod
    def converter(seconds: float | None) -> time.struct_time:
        return time.gmtime(seconds)


class _JsonFormatter(_UtcFormatter):
    """A line is an object, whatever its text holds."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        said: object = record.msg
        fields = said.fields if isinstance(said, Fields) else {}
        line: dict[str, object] = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "process": self._process,
            "logger": record.name,
            "message": said.event if isinstance(said, Fields) else record.getMessage(),
            **fields,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure(level: str, *, process: str, form: str = "text") -> None:
    """Send log records of `level` and above to standard error, marked with the process's role.

    `form` is "text", or "json" for an object a line: then also for what Python itself would print.
    """
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        handler.setFormatter(_JsonFormatter(process))
        logging.captureWarnings(capture=True)
        sys.excepthook = _uncaught
        threading.excepthook = _uncaught_in_thread
    else:
        handler.setFormatter(_UtcFormatter(f"%(asctime)s %(levelname)s {process} %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def level() -> str:
    """Return the level from which this process logs."""
    return logging.getLevelName(logging.getLogger().level).lower()


def set_level(name: str) -> None:
    """Log from another level up from now on."""
    logging.getLogger().setLevel(name.upper())


def _uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    _log.critical("this is a bug: %s", kind.__name__, exc_info=(kind, error, traceback))


def _uncaught_in_thread(caught: threading.ExceptHookArgs) -> None:
    error = caught.exc_value or caught.exc_type()
    _uncaught(caught.exc_type, error, caught.exc_traceback)
