"""Durations of many calls in bounded memory: each one as long as they are few, then in bins."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

# Two megabytes a process.
EXACT: Final = 262_144
# Bins are 0.1 % wide, from 100 ns to a day.
WIDTH: Final = 1.001
_SHORTEST_S: Final = 1e-7
_LONGEST_S: Final = 86_400.0
_BINS: Final = math.ceil(math.log(_LONGEST_S / _SHORTEST_S, WIDTH)) + 1
# Once there are bins, a small number at a time goes into them: the generator must not pause.
_PORTION: Final = 4096


class Samples:
    """Durations in seconds. Percentiles are exact up to `exact` samples, then right to 0.1 %."""

    def __init__(self, values: Iterable[float] = (), *, exact: int = EXACT) -> None:
        self._values = array("d")
        self._counts: NDArray[np.int64] | None = None
        self._room = exact
        self._counted_s = 0.0
        self._longest_s = 0.0
        for value in values:
            self.append(value)

    def append(self, duration_s: float) -> None:
        """Add one duration."""
        self._values.append(duration_s)
        if len(self._values) > self._room:
            self._to_bins()

    def extend(self, other: Samples) -> None:
        """Add all durations of another; they stay exact as long as there is room for them."""
        self._values.frombytes(other.values.tobytes())
        if other.counts is not None:
            counts = self._to_bins()
            counts += other.counts
            self._counted_s += other.counted_s
            self._longest_s = max(self._longest_s, other.longest_s)
        elif len(self._values) > self._room:
            self._to_bins()

    @property
    def exact(self) -> bool:
        """Whether every sample is still known by itself."""
        return self._counts is None

    @property
    def values(self) -> NDArray[np.float64]:
        """The durations that are known one by one."""
        return np.array(self._values, np.float64)

    @property
    def counts(self) -> NDArray[np.int64] | None:
        """How many others are in each bin; None when there are none."""
        return self._counts

    @property
    def counted_s(self) -> float:
        """The sum of those in bins."""
        return self._counted_s

    def __len__(self) -> int:
        return len(self._values) + (0 if self._counts is None else int(self._counts.sum()))

    @property
    def mean_s(self) -> float:
        """The mean, always exact; NaN when there is nothing."""
        total_s = self._counted_s + float(self.values.sum())
        return total_s / len(self) if len(self) else math.nan

    @property
    def longest_s(self) -> float:
        """The longest duration, always exact; NaN when there is nothing."""
        return max([self._longest_s, *self._values]) if len(self) else math.nan

    def percentiles_s(self, percents: Sequence[float]) -> list[float]:
        """Return for each percentage the shortest sample that so many are not longer than.

        NaN when there is nothing. From bins it is the upper edge, but never more than the longest.
        """
        if not len(self):
            return [math.nan] * len(percents)
        if self._counts is None:
            found = np.percentile(self.values, percents, method="inverted_cdf")
            return [float(value) for value in found]
        counts = self._to_bins()
        below = np.cumsum(counts)
        ranks = np.maximum(1, np.ceil(np.asarray(percents) / 100 * below[-1]))
        edges_s = _SHORTEST_S * WIDTH ** np.searchsorted(below, ranks)
        return [min(float(edge_s), self._longest_s) for edge_s in edges_s]

    def _to_bins(self) -> NDArray[np.int64]:
        counts = np.zeros(_BINS, np.int64) if self._counts is None else self._counts
        self._counts = counts
        self._room = _PORTION
        values = self.values
        if values.size:
            logs = np.log(np.clip(values, _SHORTEST_S, _LONGEST_S) / _SHORTEST_S) / math.log(WIDTH)
            counts += np.bincount(np.ceil(logs).astype(np.int64), minlength=_BINS)
            self._counted_s += float(values.sum())
            self._longest_s = max(self._longest_s, float(values.max()))
            del self._values[:]
        return counts


def merged(parts: Sequence[Samples]) -> Samples:
    """Return all samples of all parts; exact when every part is."""
    whole = Samples(exact=max(EXACT, sum(map(len, parts))))
    for part in parts:
        whole.extend(part)
    return whole
