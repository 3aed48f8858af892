"""The rows of one model counted column by column, cumulatively: sums of them add over replicas."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from isotherm.server.drift.reference import Column, Reference

# The totals' rows, each with one number a column; the bins follow.
ROWS: Final = 0
MISSING: Final = 1
INFINITE: Final = 2
OUTSIDE: Final = 3
FINITE: Final = 4
# Of the finite values, in standard deviations of the training rows from their mean.
SUM: Final = 5
SQUARES: Final = 6
BINS: Final = 7

# A value farther from the mean, in standard deviations, counts as one that is so far: otherwise one
# of 1e30 would drown all others, in its window and in every later difference of totals.
FARTHEST: Final = 100.0
# Rows that are counted at once, so that what that takes stays in the processor's cache.
_BLOCK_ROWS: Final = 1024


class Tally:
    """The totals of one model, of shape (BINS + bins, columns), against its reference."""

    def __init__(self, reference: Reference) -> None:
        columns = reference.columns
        self.reference = reference
        self.bins = max((len(column.counts) for column in columns), default=0)
        self.totals: NDArray[np.float64] = np.zeros((BINS + self.bins, len(columns)))
        # Rounded as the rows are, so that a value of the training table stays in its bin and range.
        self._low = _single([_or(column.minimum, -np.inf) for column in columns])
        self._high = _single([_or(column.maximum, np.inf) for column in columns])
        self._mean = np.array([[column.mean] for column in columns])
        self._scale = np.array([[column.standard_deviation or 1.0] for column in columns])
        categories = np.array([[column.category] for column in columns])
        self._categories = categories if categories.any() else None
        # Of each column the edges between its bins; the two outermost bins have no end.
        between = np.full((max(self.bins - 1, 0), len(columns), 1), np.inf, np.float32)
        for index, column in enumerate(columns):
            inner = column.edges[1:-1]
            between[: len(inner), index, 0] = inner
        self._between = between

    def add(self, table: NDArray[np.float32]) -> None:
        """Count rows, of shape (rows, columns)."""
        for start in range(0, len(table), _BLOCK_ROWS):
            # A column's values side by side: tables are long, and often narrow.
            self._add(np.ascontiguousarray(table[start : start + _BLOCK_ROWS].T))

    def add_refused(self, features: NDArray[np.float32]) -> None:
        """Count what is no number in rows that were not run, of shape (rows, features)."""
        columns = features.shape[1]
        self.totals[MISSING, :columns] += np.isnan(features).sum(axis=0)
        self.totals[INFINITE, :columns] += np.isinf(features).sum(axis=0)

    def _add(self, values: NDArray[np.float32]) -> None:
        """Count rows that lie transposed, in shape (columns, rows)."""
        totals, rows = self.totals, values.shape[1]
        finite = np.isfinite(values)
        totals[ROWS] += rows
        if finite.all():
            counted: Any = rows
        else:
            totals[MISSING] += np.isnan(values).sum(axis=1)
            totals[INFINITE] += np.isinf(values).sum(axis=1)
            counted = finite.sum(axis=1)
            # NaN compares as False with everything, so what follows leaves these values out.
            values = np.where(finite, values, np.float32(np.nan))
        outside = (values < self._low) | (values > self._high)
        totals[OUTSIDE] += np.count_nonzero(outside, axis=1)
        if self._categories is not None and (unknown := outside & self._categories).any():
            # The code of a value that is not in the list stands for none: it is in no bin.
            values = np.where(unknown, np.float32(np.nan), values)
            counted = counted - np.count_nonzero(unknown, axis=1)
        totals[FINITE] += counted
        self._add_moments(values)
        if self.bins:
            above = counted
            for index, edges in enumerate(self._between):
                further = np.count_nonzero(values > edges, axis=1)
                totals[BINS + index] += above - further
                above = further
            totals[BINS + self.bins - 1] += above

    def _add_moments(self, values: NDArray[np.float32]) -> None:
        deviations = (values - self._mean) / self._scale
        np.clip(deviations, -FARTHEST, FARTHEST, out=deviations)
        np.nan_to_num(deviations, copy=False, nan=0.0)
        self.totals[SUM] += deviations.sum(axis=1)
        self.totals[SQUARES] += np.einsum("ij,ij->i", deviations, deviations)


def trained(column: Column) -> NDArray[np.float64]:
    """Return a column's training histogram, of shape (bins,): also of rows that are in no bin."""
    return np.array(column.trained, np.float64)


def seen(column: Column, totals: NDArray[Any]) -> NDArray[np.float64]:
    """Return what of a column's totals, of shape (BINS + bins,), is compared with `trained`."""
    counts = len(column.counts)
    bins = totals[BINS : BINS + counts]
    if len(column.labels) == counts:
        return bins
    return np.append(bins, totals[ROWS] - totals[FINITE])


def _single(values: list[float]) -> NDArray[np.float32]:
    """Return one value a column, of shape (columns, 1)."""
    # What is beyond single precision is infinite in it, as it is in the rows.
    with np.errstate(over="ignore"):
        return np.array(values, np.float64)[:, np.newaxis].astype(np.float32)


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
