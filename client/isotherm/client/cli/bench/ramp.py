"""The ramp: a search for the highest rate that a server holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final

GROWTH: Final = 2.0
LOWEST: Final = 1.0


class Verdict(Enum):
    """What one rate showed."""

    HELD = "held"
    MISSED = "missed"
    # The generator could not make this rate, so nothing is known about the server.
    UNSENT = "unknown: the generator was the limit"
    INTERRUPTED = "interrupted"


class Ended(StrEnum):
    """Why a search was over."""

    FOUND = "found"
    # Not even the lowest rate was held.
    NOTHING_HELD = "nothing_held"
    GENERATOR = "generator"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Found:
    """The highest rate that was held, a second, and why there was none higher."""

    rate: float | None
    ended: Ended


def search(measure: Callable[[float], Verdict], start: float, precision: float) -> Found:
    """Double the rate while it is held, then halve the gap until it is within `precision`.

    A rate that is not held is tried once more: one hiccup says little. If `start` itself is missed,
    rates are halved down to one a second. The search ends early where the generator is the limit:
    what was held by then is a lower bound.
    """
    held, missed = None, None
    rate = start
    while True:
        verdict = measure(rate)
        if verdict in {Verdict.MISSED, Verdict.UNSENT}:
            verdict = measure(rate)
        if verdict is Verdict.UNSENT:
            return Found(held, Ended.GENERATOR)
        if verdict is Verdict.INTERRUPTED:
            return Found(held, Ended.INTERRUPTED)
        if verdict is Verdict.HELD:
            held = rate
        else:
            missed = rate
        if missed is None:
            rate *= GROWTH
        elif held is None:
            if missed <= LOWEST:
                return Found(None, Ended.NOTHING_HELD)
            rate = max(LOWEST, missed / GROWTH)
        elif missed <= held * (1 + precision):
            return Found(held, Ended.FOUND)
        else:
            rate = (held + missed) / 2
