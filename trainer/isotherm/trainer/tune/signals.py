"""Signals: Ctrl-C and SIGTERM end a search in good order."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(BaseException):
    """The process was asked to stop.

    No `Exception`, like `KeyboardInterrupt`: nobody is to mistake it for a failure.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def interrupting() -> Iterator[None]:
    """Raise `Interrupted` for SIGINT and SIGTERM inside the block."""

    def stop(number: int, _frame: FrameType | None) -> None:
        # A second one, which may come while the workers are being ended, finds nothing to stop.
        signal.signal(number, signal.SIG_IGN)
        raise Interrupted(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
