"""Coverage: how often the interval was right on rows that had no part in it at all.

Counting the rows that an interval was made from says nothing: it holds its share of them by
construction. Here whole groups of rows are left out: of the model, and of the residuals that the
width comes from. Each width comes from models that leave out another group besides.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from isotherm.trainer import interval
from isotherm.trainer.data import Floats

# From rows to leave out, shape (fits, rows), to each fit's predictions, (fits, rows, columns).
Refit = Callable[[NDArray[np.bool_]], Floats]

# Ten groups are 55 fits, each to four fifths of the rows at least.
GROUPS: Final = 10
# Fewer rows leave too little to fit; on more, one group's worth of noise is small anyway.
_FEWEST_ROWS: Final = 8
_MOST_ROWS: Final = 1000


def measure(refit: Refit, y: Floats, coverage: float, seed: int) -> float | None:
    """Return the share of rows inside intervals that never saw them; None if it is not measured.

    Args:
        refit: fits the model again, with other rows left out.
        y: shape (rows, targets). With several targets, the smallest share is returned.
        coverage: nominal, between 0 and 1.
        seed: of the groups.
    """
    rows = len(y)
    if not _FEWEST_ROWS <= rows <= _MOST_ROWS:
        return None
    group = np.random.default_rng(seed).permutation(np.arange(rows) % min(GROUPS, rows))
    groups = range(int(group.max()) + 1)
    pairs = list(combinations(groups, 2))
    left_out = [np.isin(group, one) for one in (*groups, *pairs)]
    residuals = np.abs(refit(np.array(left_out)) - y)
    fit_of = {pair: len(groups) + index for index, pair in enumerate(pairs)}
    inside = np.zeros(y.shape, dtype=np.bool_)
    for tested in groups:
        others = [
            residuals[fit_of[min(tested, other), max(tested, other)], group == other]
            for other in groups
            if other != tested
        ]
        width, _ = interval.half_width(np.concatenate(others), coverage)
        inside[group == tested] = residuals[tested, group == tested] <= width
    return float(inside.mean(axis=0).min())
