"""Exemplars: of each latency bucket the last request that was traced, in the shared block.

Four words each: when it was answered, what it took, and its trace. The time is nought while the
others are written, and whoever reads looks twice.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from isotherm.server import layout

Words = NDArray[np.int64]

_WORDS: Final = layout.EXEMPLAR_WORDS
_LOW: Final = (1 << 64) - 1


class Exemplar(NamedTuple):
    """A traced request: when it was answered (as time.time()), what it took, and its trace."""

    at_s: float
    seconds: float
    trace_id: str


Exemplars = Sequence[Exemplar | None]


def note(words: Words, trace_id: int, duration_ns: int) -> None:
    """Remember a request of a model, answered just now, in the bucket of its duration."""
    bucket = bisect_left(layout.LATENCY_EDGES_NS, duration_ns)
    start = layout.EXEMPLARS + bucket * _WORDS
    words[start] = 0
    words[start + 1] = duration_ns
    words[start + 2] = _signed(trace_id >> 64)
    words[start + 3] = _signed(trace_id & _LOW)
    words[start] = time.time_ns() // 1_000_000


def read(words: Words) -> Exemplars:
    """Return the exemplar of each bucket of a model; None where there is none, or not quite."""
    table = words[layout.EXEMPLARS : layout.EXEMPLARS + layout.LATENCY_BUCKETS * _WORDS]
    first, second = table.tolist(), table.tolist()
    found: list[Exemplar | None] = []
    for start in range(0, len(first), _WORDS):
        row = first[start : start + _WORDS]
        # Half of one request and half of the next would send its reader to the wrong trace.
        whole = row[0] and row == second[start : start + _WORDS]
        found.append(_exemplar(*row) if whole else None)
    return found


def latest(one: Exemplars, other: Exemplars) -> Exemplars:
    """Return the later exemplar of each bucket."""
    return [max(filter(None, pair), default=None) for pair in zip(one, other, strict=True)]


def _exemplar(at_ms: int, duration_ns: int, high: int, low: int) -> Exemplar:
    return Exemplar(at_ms / 1000, duration_ns / 1e9, f"{high & _LOW:016x}{low & _LOW:016x}")


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word
