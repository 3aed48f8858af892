"""Ctrl-C and SIGTERM: they end the wait for an answer, and not the writing of one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopping:
    """The signals of a run that is under way."""

    def __init__(self) -> None:
        self._held = False
        self._pending: BaseException | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let the first signal wait until the block has ended; a second one does not wait."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._pending is not None:
            raise self._pending

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        stop = KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
        if not self._held or self._pending is not None:
            raise stop
        self._pending = stop


@contextmanager
def stopping() -> Iterator[Stopping]:
    """Take the signals that stop a command until the block has ended.

    Ctrl-C becomes a KeyboardInterrupt, SIGTERM a SystemExit. One that is ignored stays ignored:
    whoever started the command meant it.
    """
    taker = Stopping()
    before = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, taker)
    try:
        yield taker
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
