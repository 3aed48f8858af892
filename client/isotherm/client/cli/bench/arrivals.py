"""When requests are due: a schedule that is fixed before the first answer comes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

_CHUNK: Final = 4096


class Arrivals(StrEnum):
    """How requests are spread over time."""

    CONSTANT = "constant"
    POISSON = "poisson"


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a load that one of several processes makes: `index` of `count`."""

    index: int = 0
    count: int = 1

    def of(self, whole: int) -> int:
        """Return how many of `whole` things belong to this part."""
        return (whole - self.index + self.count - 1) // self.count


def offsets_s(
    arrivals: Arrivals, rate: float, span_s: float, share: Share, seed: int
) -> Iterator[float]:
    """Yield when this share's requests are due, in seconds after the start, in rising order.

    Constant arrivals are dealt out in turn, so that all shares together keep the one rhythm.
    Poisson arrivals are independent of each other: together they are Poisson at the whole `rate`.
    """
    if arrivals is Arrivals.CONSTANT:
        yield from _constant(rate, round(rate * span_s), share)
    else:
        yield from _poisson(rate / share.count, span_s, np.random.default_rng((seed, share.index)))


def _constant(rate: float, total: int, share: Share) -> Iterator[float]:
    # In chunks: hours at thousands a second must not lie in memory.
    for first in range(share.index, total, share.count * _CHUNK):
        last = min(total, first + share.count * _CHUNK)
        yield from (np.arange(first, last, share.count) / rate).tolist()


def _poisson(rate: float, span_s: float, random: np.random.Generator) -> Iterator[float]:
    now_s = 0.0
    while True:
        due_s = now_s + np.cumsum(random.exponential(1 / rate, _CHUNK))
        yield from due_s[due_s < span_s].tolist()
        now_s = float(due_s[-1])
        if now_s >= span_s:
            return
