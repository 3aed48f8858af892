"""Coverage: how often the interval was right on rows that had no part in it at all.

Counting the rows that an interval was made from says nothing: it holds its share of them by
construction. Here whole groups of rows are left out: of the model, and of the residuals that the
width comes from. Each width comes from models that leave out another group besides.

By time, each block is tried with a width from the blocks before it, as it would have been then.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from isotherm.trainer import interval
from isotherm.trainer import weights as averages
from isotherm.trainer.columns import Floats
from isotherm.trainer.folds import deal

# From rows to leave out, shape (fits, rows), to each fit's predictions, (fits, rows, columns).
Refit = Callable[[NDArray[np.bool_]], Floats]

# Ten groups are 55 fits, each to four fifths of the rows at least.
GROUPS: Final = 10
# Of the table's own groups, two are left out at a time, and as many must be left to learn from.
_FEWEST_GROUPS: Final = 4
# Fewer rows leave too little to fit; on more, one group's worth of noise is small anyway.
_FEWEST_ROWS: Final = 8
_MOST_ROWS: Final = 1000


def measure(
    refit: Refit,
    y: Floats,
    coverage: float,
    seed: int,
    *,
    learned: Callable[[Floats], Floats] = np.asarray,
    weights: Floats | None = None,
    keys: NDArray[np.int64] | None = None,
) -> float | None:
    """Return the share of rows inside intervals that never saw them; None if it is not measured.

    Args:
        refit: fits the model again, with other rows left out.
        y: shape (rows, targets). With several targets, the smallest share is returned.
        coverage: nominal, between 0 and 1.
        seed: of the groups.
        learned: maps targets to the scale on which the interval has one width.
        weights: shape (rows,), what each row counts.
        keys: shape (rows,), which rows are left out together.
    """
    rows = len(y)
    if not _FEWEST_ROWS <= rows <= _MOST_ROWS:
        return None
    rng = np.random.default_rng(seed)
    if keys is None:
        group = rng.permutation(np.arange(rows) % min(GROUPS, rows))
    else:
        count = min(GROUPS, len(np.unique(keys)))
        if count < _FEWEST_GROUPS:
            return None
        group = deal(keys, count, rng)
    groups = range(int(group.max()) + 1)
    pairs = list(combinations(groups, 2))
    left_out = [np.isin(group, one) for one in (*groups, *pairs)]
    residuals = np.abs(learned(refit(np.array(left_out))) - learned(y))
    fit_of = {pair: len(groups) + index for index, pair in enumerate(pairs)}
    inside = np.zeros(y.shape, dtype=np.bool_)
    for tested in groups:
        others = [other for other in groups if other != tested]
        used = [
            residuals[fit_of[min(tested, other), max(tested, other)], group == other]
            for other in others
        ]
        counts = None if weights is None else np.concatenate([weights[group == o] for o in others])
        width, _ = interval.half_width(np.concatenate(used), coverage, counts)
        inside[group == tested] = residuals[tested, group == tested] <= width
    return _smallest(inside, weights)


def forward(
    residuals: Floats, blocks: NDArray[np.int64], coverage: float, weights: Floats | None = None
) -> float | None:
    """Return the share of rows inside intervals made of earlier rows; None if it is not measured.

    Args:
        residuals: shape (tested rows, targets), each by a fit to earlier rows, on the scale that
            targets are learned on. With several targets, the smallest share is returned.
        blocks: shape (tested rows,); the blocks of time, in their order.
        coverage: nominal, between 0 and 1.
        weights: shape (tested rows,).
    """
    inside = np.zeros(residuals.shape, dtype=np.bool_)
    tried = np.zeros(len(residuals), dtype=np.bool_)
    for block in range(1, int(blocks.max()) + 1):
        before, here = blocks < block, blocks == block
        counts = None if weights is None else weights[before]
        width, reached = interval.half_width(residuals[before], coverage, counts)
        # So few rows before it would promise less.
        if reached >= coverage:
            tried |= here
            inside[here] = np.abs(residuals[here]) <= width
    if tried.sum() < _FEWEST_ROWS:
        return None
    return _smallest(inside[tried], None if weights is None else weights[tried])


def _smallest(inside: NDArray[np.bool_], weights: Floats | None) -> float:
    return float(averages.mean(inside.T.astype(np.float64), weights).min())
