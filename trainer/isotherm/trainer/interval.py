"""The prediction interval: a constant half-width from residuals of rows that were left out."""

from __future__ import annotations

import math

import numpy as np

from isotherm.trainer.columns import Floats
from isotherm.trainer.weights import effective


def half_width(
    residuals: Floats, coverage: float, weights: Floats | None = None
) -> tuple[Floats, float]:
    """Return the conformal half-width of each target, and the coverage that it stands for.

    `n` residuals support at most the coverage `n / (n + 1)`: beyond that, the widest residual is
    taken and that lower coverage is returned, because the asked one would need an infinite width.

    With weights, rows count as much as they weigh, `n` is what the weights are worth, and the row
    to come weighs as much as one of the training rows does on average, drawn by weight.

    Args:
        residuals: shape (rows, targets), of held-out rows, on the scale that is learned.
        coverage: nominal, between 0 and 1.
        weights: shape (rows,), of the same rows.
    """
    rows = len(residuals)
    absolute = np.abs(residuals)
    if weights is None:
        rank = math.ceil((rows + 1) * coverage)
        return np.sort(absolute, axis=0)[min(rank, rows) - 1], min(coverage, rows / (rows + 1))
    worth = effective(weights)
    order = np.argsort(absolute, axis=0, kind="stable")
    reached = np.cumsum(weights[order], axis=0) / weights.sum()
    # A sum of weights is not exact; a rank is.
    enough = reached >= coverage * (1 + 1 / worth) - 1e-12
    last = np.where(enough.any(axis=0), enough.argmax(axis=0), rows - 1)
    widths = np.take_along_axis(
        np.take_along_axis(absolute, order, axis=0), last[np.newaxis], axis=0
    )
    return widths[0], min(coverage, worth / (worth + 1))
