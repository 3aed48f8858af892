"""Turns on a device: several models share it, and each gets as much of its time as the others.

Start-time fair queueing. A share is what one model has had of the device, in seconds, and the next
turn goes to the share that has had the least. One that was idle does not save up: when it comes
back it begins where the others are.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

# One run copies while another one computes; a third would only wait inside the driver, where the
# order is nobody's choice.
AT_ONCE: Final = 2


class Turns:
    """Who may use one device now: at most `at_once` runs, of whichever models."""

    def __init__(
        self, at_once: int = AT_ONCE, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._free = at_once
        # Those with turns that wait, and what the share had had that got the last turn.
        self._waiting: list[Share] = []
        self._now_s = 0.0

    def share(self) -> Share:
        """Return a new model's share of the device."""
        return Share(self)

    def begin(self, share: Share) -> tuple[float, float]:
        """Wait for a turn; return when it began, and what the share was charged for it so far.

        Both are seconds, the first as the clock's.
        """
        with self._lock:
            if not (share.waiting or share.running):
                share.had_s = max(share.had_s, self._now_s)
            if self._free:
                # Then nobody waits: a turn that ends is handed on.
                charged_s = self._grant(share)
                return self._clock(), charged_s
            place = _Place()
            if not share.waiting:
                self._waiting.append(share)
            share.waiting.append(place)
            asked_s = self._clock()
        place.called.acquire()
        began_s = self._clock()
        with self._lock:
            share.waited_s += began_s - asked_s
        return began_s, place.charged_s

    def end(self, share: Share, began_s: float, charged_s: float) -> None:
        """Give a turn back; it goes to the share that waits and has had the least."""
        took_s = self._clock() - began_s
        with self._lock:
            share.running -= 1
            share.had_s += took_s - charged_s
            share.usual_s = took_s
            self._free += 1
            if not self._waiting:
                return
            next_share = min(self._waiting, key=_had_s)
            place = next_share.waiting.popleft()
            if not next_share.waiting:
                self._waiting.remove(next_share)
            place.charged_s = self._grant(next_share)
        place.called.release()

    def _grant(self, share: Share) -> float:
        self._free -= 1
        share.running += 1
        self._now_s = max(self._now_s, share.had_s)
        # On account: a share with two runs at once is not to look as if it had had nothing.
        share.had_s += share.usual_s
        return share.usual_s


class Share:
    """One model's part of a device's time. Its fields are the turns' own."""

    def __init__(self, turns: Turns) -> None:
        self.had_s = 0.0
        # What its last turn took.
        self.usual_s = 0.0
        self.running = 0
        # What all its turns together have waited for the others'.
        self.waited_s = 0.0
        self.waiting: deque[_Place] = deque()
        self._turns = turns

    def turn(self) -> Turn:
        """Return a turn to enter: it begins when it is this share's, and ends with the block."""
        return Turn(self._turns, self)


class Turn:
    """One use of the device, as a context manager; of one thread."""

    __slots__ = ("_began_s", "_charged_s", "_share", "_turns")

    def __init__(self, turns: Turns, share: Share) -> None:
        self._turns = turns
        self._share = share

    def __enter__(self) -> Self:
        self._began_s, self._charged_s = self._turns.begin(self._share)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._turns.end(self._share, self._began_s, self._charged_s)


class _Place:
    """A turn in the queue; its thread sleeps until it is called."""

    __slots__ = ("called", "charged_s")

    def __init__(self) -> None:
        self.called = threading.Lock()
        self.called.acquire()
        self.charged_s = 0.0


def _had_s(share: Share) -> float:
    return share.had_s
