"""The population stability index, and from which value on it is no chance.

PSI = sum((live - trained) * ln(live / trained)) over the shares of rows in each bin. Without drift,
PSI / (1 / n + 1 / m) is distributed as chi-squared with bins - 1 degrees of freedom, where n live
rows are compared with m training rows: small windows have a large PSI for no reason.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# What is called drift however many rows say so: the lower of the two usual marks (0.1 and 0.25).
NOTABLE: Final = 0.1
# With fewer training rows the histogram itself is chance.
MIN_TRAINING_ROWS: Final = 200
# Live rows a bin, on average, from which on the law above holds in its tail.
MIN_ROWS_A_BIN: Final = 20
# Chance that one window without drift raises an alarm in any column of a model. Ten minutes a
# window, that is one false alarm in some two years, at the worst number of rows.
FALSE_ALARMS: Final = 1e-5
# Added to every bin, so that an empty one has a logarithm.
_PSEUDO_COUNT: Final = 0.5


def psi(live: NDArray[Any], trained: NDArray[Any]) -> float:
    """Return the index of two histograms over the same bins, counts of shape (bins,)."""
    p, q = (
        (counts + _PSEUDO_COUNT) / (counts.sum() + _PSEUDO_COUNT * len(counts))
        for counts in (live, trained)
    )
    return float(np.sum((p - q) * np.log(p / q)))


def threshold(bins: int, live_rows: float, training_rows: float, columns: int) -> float:
    """Return the PSI above which a column has drifted.

    It is `NOTABLE`, or where that could be chance, what chance reaches in a share `FALSE_ALARMS` of
    the windows in one of so many `columns`.
    """
    noise = 1 / live_rows + 1 / training_rows
    return max(NOTABLE, quantile(bins - 1, FALSE_ALARMS / columns) * noise)


@lru_cache(maxsize=1024)
def quantile(freedom: int, above: float) -> float:
    """Return x such that chi-squared with `freedom` degrees exceeds it with probability `above`."""
    low, high = 0.0, 1.0
    while exceeds(freedom, high) > above:
        high *= 2
    # Halving a range 60 times leaves nothing of it but rounding.
    for _ in range(60):
        middle = (low + high) / 2
        if exceeds(freedom, middle) > above:
            low = middle
        else:
            high = middle
    return high


def exceeds(freedom: int, x: float) -> float:
    """Return the probability that chi-squared with `freedom` >= 1 degrees exceeds `x` >= 0."""
    half = x / 2
    if freedom % 2:
        # From 1 degree on, each two more add a term to the tail.
        tail, term, degrees = math.erfc(math.sqrt(half)), math.sqrt(4 * half / math.pi), 1
    else:
        tail, term, degrees = 1.0 * math.exp(-half), half, 2
    term *= math.exp(-half)
    while degrees < freedom:
        tail += term
        degrees += 2
        term *= half / (degrees / 2)
    return tail
