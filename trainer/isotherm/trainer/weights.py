"""The weights: what each row counts, and the averages in which it counts so.

Only their ratios matter: twice all weights is the same training. Where rows are counted, as in a
standard error, the weights are worth `effective` rows.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isotherm.trainer import columns
from isotherm.trainer.columns import Floats
from isotherm.trainer.errors import DataError


def read(where: str, cells: Any) -> Floats:
    """Return a column of weights, shape (rows,).

    Args:
        where: the column, as an error begins.
        cells: a `pyarrow.ChunkedArray`.

    Raises:
        DataError: a weight is missing, negative, infinite or no number, or all are 0.
    """
    if not columns.is_number(cells.type) or pa.types.is_boolean(cells.type):
        msg = f"{where} holds {cells.type}, expected weights: numbers from 0 on"
        raise DataError(msg)
    absent = columns.missing(cells)
    if absent.any():
        msg = f"{where} has no weight in row {int(np.argmax(absent)) + 1}; give it one, or 0"
        raise DataError(msg)
    return checked(where, cells.cast(pa.float64(), safe=False).to_numpy())


def checked(where: str, values: Floats) -> Floats:
    """Return weights of shape (rows,) that are finite, from 0 on, and not all 0; or raise."""
    wrong = ~(np.isfinite(values) & (values >= 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        msg = f"{where} has {values[row]:g} in row {row + 1}; a weight is finite, and from 0 on"
        raise DataError(msg)
    if not values.any():
        msg = f"{where} is 0 in every row; at least some rows must count"
        raise DataError(msg)
    return values


def effective(weights: Floats) -> float:
    """Return how many rows of one weight say as much as these (Kish)."""
    # Of the largest, so that squares neither overflow nor vanish.
    shares = weights / weights.max()
    return float(shares.sum() ** 2 / np.square(shares).sum())


def mean(values: Floats, weights: Floats | None = None) -> Floats:
    """Return the average over the last axis, which is of rows."""
    return np.asarray(np.average(values, axis=-1, weights=weights))


def standard_error(
    values: Floats, weights: Floats | None = None, keys: NDArray[np.int64] | None = None
) -> float:
    """Return the standard error of the mean of `values`, shape (rows,).

    Args:
        values: of the rows.
        weights: of the rows.
        keys: of the rows: those of one key stand together, and count as one. Infinite if all do.
    """
    if weights is None and keys is None:
        return float(values.std(ddof=1) / np.sqrt(len(values)))
    counts = np.ones(len(values)) if weights is None else weights / weights.max()
    apart = counts * (values - mean(values, counts))
    if keys is not None:
        apart = np.bincount(np.unique(keys, return_inverse=True)[1], weights=apart)
    count = len(apart)
    if count == 1:
        return math.inf
    total = count / (count - 1) * np.square(apart).sum()
    return float(np.sqrt(total) / counts.sum())
