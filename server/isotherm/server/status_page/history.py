"""The last minutes of the counters: a sample every few seconds, and what happened between two."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from isotherm.server.counters import Block
from isotherm.server.layout import LATENCY_BUCKETS, LATENCY_EDGES_NS
from isotherm.server.model_counters import Words
from isotherm.server.totals import ModelTotals, total

INTERVAL_S: Final = 5.0
# Five minutes, both ends included.
SAMPLES: Final = 61

# Where each number lies in a version's vector; the latency histogram's buckets follow.
_REQUESTS, _ERRORS, _ROWS, _EXECUTIONS, _DURATION_NS, _BUCKETS = range(6)
_WIDTH: Final = _BUCKETS + LATENCY_BUCKETS

# A model's name and its version.
Key = tuple[str, int]


class Sample(NamedTuple):
    """The counters of every model version at one moment of the monotonic clock."""

    at_s: float
    counts: Mapping[Key, Words]


class Stretch:
    """What was counted in a stretch of time."""

    def __init__(self, seconds: float, counts: Words) -> None:
        """`counts` are the differences of a version's vector, or a sum of several versions'."""
        self._seconds = seconds
        self._counts = counts

    @property
    def requests_per_s(self) -> float:
        """Ended requests, whatever their status."""
        return self._rate(_REQUESTS)

    @property
    def errors_per_s(self) -> float:
        """Requests that ended with another status than OK."""
        return self._rate(_ERRORS)

    @property
    def rows_per_s(self) -> float:
        """Rows that the model has run."""
        return self._rate(_ROWS)

    @property
    def batch_rows(self) -> float | None:
        """The mean size of the executed batches; None without one."""
        executions = int(self._counts[_EXECUTIONS])
        return int(self._counts[_ROWS]) / executions if executions else None

    @property
    def mean_s(self) -> float | None:
        """The mean time of requests answered with OK; None without one."""
        answered = int(self._counts[_BUCKETS:].sum())
        return int(self._counts[_DURATION_NS]) / answered / 1e9 if answered else None

    def quantile_s(self, q: float) -> float | None:
        """Return the time within which the share `q` was answered, interpolated as in Prometheus.

        None without an answer; the highest edge where the time lies beyond it.
        """
        edges_ns = LATENCY_EDGES_NS
        up_to = np.cumsum(self._counts[_BUCKETS:])
        if not up_to[-1]:
            return None
        rank = q * float(up_to[-1])
        bucket = int(np.searchsorted(up_to, rank))
        if bucket >= len(edges_ns):
            return edges_ns[-1] / 1e9
        below = float(up_to[bucket - 1]) if bucket else 0.0
        start_ns = edges_ns[bucket - 1] if bucket else 0
        share = (rank - below) / (float(up_to[bucket]) - below)
        return (start_ns + share * (edges_ns[bucket] - start_ns)) / 1e9

    def _rate(self, place: int) -> float:
        return int(self._counts[place]) / self._seconds if self._seconds else 0.0


class History:
    """A ring of samples, filled by a thread of its own."""

    def __init__(
        self, blocks: Sequence[Block], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin with one sample; `clock` gives seconds."""
        self._blocks = blocks
        self._clock = clock
        self._lock = threading.Lock()
        self._ring: deque[Sample] = deque(maxlen=SAMPLES)
        # What was read last, and the blocks' tracks then: an idle server is not read anew.
        self._read_last: tuple[list[int], Mapping[Key, Words]] = ([], {})
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self.sample()

    def start(self) -> None:
        """Take a sample every INTERVAL_S from now on."""
        self._thread.start()

    def close(self) -> None:
        """Take no more."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()

    def sample(self) -> None:
        """Take one sample now."""
        sample = self._read()
        with self._lock:
            self._ring.append(sample)

    def last(self, seconds: float) -> Recent:
        """Return what happened from up to `seconds` ago until now."""
        now = self._read()
        with self._lock:
            samples = list(self._ring)
        young = (each for each in samples if now.at_s - each.at_s <= seconds)
        return Recent(next(young, samples[-1]), now)

    def steps(self) -> list[Recent]:
        """Return what happened between each sample and the next, the oldest first."""
        with self._lock:
            samples = list(self._ring)
        return [Recent(before, after) for before, after in pairwise(samples)]

    def _run(self) -> None:
        while not self._done.wait(INTERVAL_S):
            self.sample()

    def _read(self) -> Sample:
        tracks, counts = self._read_last
        found = [block.tracks() for block in self._blocks]
        if found != tracks:
            counts = {(each.name, each.version): _vector(each) for each in total(self._blocks)}
            self._read_last = found, counts
        return Sample(self._clock(), counts)


class Recent(NamedTuple):
    """Two samples, and what happened in between."""

    before: Sample
    after: Sample

    def of(self, key: Key) -> Stretch:
        """Return what one model version did."""
        return Stretch(self._seconds, self._difference(key))

    def of_all(self) -> Stretch:
        """Return what all versions did together."""
        together = np.zeros(_WIDTH, np.int64)
        for key in self.after.counts:
            together += self._difference(key)
        return Stretch(self._seconds, together)

    @property
    def _seconds(self) -> float:
        return self.after.at_s - self.before.at_s

    def _difference(self, key: Key) -> Words:
        before, after = self.before.counts.get(key), self.after.counts.get(key)
        if after is None:
            return np.zeros(_WIDTH, np.int64)
        # A version that was unloaded and came back counts from zero again.
        if before is None or (before > after).any():
            return after
        return after - before


def _vector(model: ModelTotals) -> Words:
    requests, duration = model.requests, model.duration
    ended, answered = sum(requests), requests[0]
    return np.array(
        [
            *(ended, ended - answered, model.rows, model.executions, duration.sum_ns),
            *duration.buckets,
        ],
        np.int64,
    )
