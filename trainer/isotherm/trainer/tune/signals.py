"""Signals: Ctrl-C and SIGTERM end a search in good order.

An error that is raised between any two steps is raised where Python drops it, too: in the callback
of a weak reference, of which there are many while a study is written. Two of a hundred signals were
lost there. So it is raised where the search waits, which it does nearly always, and nowhere else.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


class Interrupted(BaseException):
    """The process was asked to stop.

    No `Exception`, like `KeyboardInterrupt`: nobody is to mistake it for a failure.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@dataclass(slots=True)
class _Asked:
    """What a process has one of, like its handlers."""

    # Of the first signal; 0 before it.
    number: int = 0
    waits: bool = False


_asked = _Asked()


@contextmanager
def interrupting() -> Iterator[None]:
    """Take SIGINT and SIGTERM inside the block.

    Raises:
        Interrupted: by `waiting`, or at the end of the block where nobody waited any more.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        # Of a second one, which may come while the workers are being ended, there is nothing to do.
        _asked.number = _asked.number or number
        if _asked.waits:
            _asked.waits = False
            raise Interrupted(_asked.number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        asked, _asked.number = _asked.number, 0
    if asked:
        raise Interrupted(asked)


@contextmanager
def waiting() -> Iterator[None]:
    """Wait inside the block, and do nothing else.

    Raises:
        Interrupted: the process is asked to stop, or was before.
    """
    _asked.waits = True
    try:
        if _asked.number:
            raise Interrupted(_asked.number)
        yield
    finally:
        _asked.waits = False
