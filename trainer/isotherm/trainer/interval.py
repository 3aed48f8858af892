"""The prediction interval: a constant half-width from residuals of rows that were left out."""

from __future__ import annotations

import math

import numpy as np

from isotherm.trainer.data import Floats


def half_width(residuals: Floats, coverage: float) -> tuple[Floats, float]:
    """Return the conformal half-width of each target, and the coverage that it stands for.

    `n` residuals support at most the coverage `n / (n + 1)`: beyond that, the widest residual is
    taken and that lower coverage is returned, because the asked one would need an infinite width.

    Args:
        residuals: shape (rows, targets), of held-out rows, in the targets' units.
        coverage: nominal, between 0 and 1.
    """
    rows = len(residuals)
    rank = math.ceil((rows + 1) * coverage)
    widths = np.sort(np.abs(residuals), axis=0)[min(rank, rows) - 1]
    return widths, min(coverage, rows / (rows + 1))
