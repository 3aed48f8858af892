"""The heartbeat of a worker's loop: a sign of life twice a second, and how late it comes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from isotherm.server.counters import Block
from isotherm.server.loop import Loop

HEARTBEAT_S: Final = 0.5
# So far back goes the metric of late beats: usual scrapes are no further apart.
_LAG_OVER_S: Final = 15.0


class Heartbeat:
    """Beats on the loop's thread, into the worker's block."""

    def __init__(self, loop: Loop, block: Block, then: Callable[[], None]) -> None:
        """`then` is called at each beat: what has to be looked at regularly."""
        self._loop = loop
        self._block = block
        self._then = then
        self._lags_s: deque[float] = deque(maxlen=int(_LAG_OVER_S / HEARTBEAT_S))

    def start(self) -> None:
        """Beat now, and from now on."""
        self._beat(time.monotonic())

    def _beat(self, due_s: float) -> None:
        self._lags_s.append(max(0.0, time.monotonic() - due_s))
        self._block.beat(max(self._lags_s))
        self._then()
        next_s = time.monotonic() + HEARTBEAT_S
        self._loop.call_later(HEARTBEAT_S, lambda: self._beat(next_s))
