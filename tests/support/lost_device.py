"""A worker's process on a device that is lost once a file is there: for `python -m`.

Arguments: the descriptor of the supervisor's line, and the file.
"""

from __future__ import annotations

import atexit
import sys
import time
from pathlib import Path

from isotherm.server import process
from isotherm.server.config import ServerConfig
from isotherm.server.placer import Placer
from tests.support.host_device import HostDevice
from tests.support.stopwatch import device_always


class Losable(HostDevice):
    """Is lost when the file is there."""

    @property
    def lost(self) -> bool:
        return Path(sys.argv[2]).exists()

    @lost.setter
    def lost(self, value: bool) -> None:
        assert not value


def placer(config: ServerConfig, slot: int = 0) -> Placer:
    """Return what places on it, whatever the machine has."""
    return Placer(config, Losable(), stopwatch=device_always())


if __name__ == "__main__":
    Placer.of = placer  # type: ignore[method-assign]
    # What cleans up at the end may hang, in a driver whose device is gone.
    atexit.register(time.sleep, 600)
    sys.exit(process.main())
