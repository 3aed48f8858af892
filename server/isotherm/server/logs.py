"""Logging set-up, called by the two processes' entry points only."""

from __future__ import annotations

import logging
import sys
import time
from typing import Final

LEVELS: Final = ("debug", "info", "warning", "error")
# Above all of them: nothing is logged.
OFF: Final = "critical"


class _UtcFormatter(logging.Formatter):
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    @staticmethod
    def converter(seconds: float | None) -> time.struct_time:
        return time.gmtime(seconds)


def configure(level: str, *, process: str) -> None:
    """Send log records of `level` and above to standard error, marked with the process's role."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_UtcFormatter(f"%(asctime)s %(levelname)s {process} %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def level() -> str:
    """Return the level from which this process logs."""
    return logging.getLevelName(logging.getLogger().level).lower()


def set_level(name: str) -> None:
    """Log from another level up from now on."""
    logging.getLogger().setLevel(name.upper())
