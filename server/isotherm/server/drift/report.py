"""One model's drift, as the metrics page shows it: totals since the start, and the window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isotherm.server.drift import tally
from isotherm.server.drift.reference import Column, Reference
from isotherm.server.drift.stability import (
    MIN_ROWS_A_BIN,
    MIN_TRAINING_ROWS,
    psi,
    threshold,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnReport:
    """One column. What the window tells is None where it cannot be told."""

    column: Column
    missing: int
    infinite: int
    # Finite values outside the training range; None where that is not known.
    out_of_range: int | None
    # Rows in each training bin, as `column.labels` has them; empty without a histogram.
    bins: list[int]
    psi: float | None
    psi_threshold: float | None
    # Of the window's mean from the training mean, in training standard deviations.
    mean_shift: float | None
    # The window's standard deviation as a multiple of the training's.
    spread: float | None

    @property
    def drifted(self) -> bool:
        """Whether the column's distribution is no longer the training's."""
        return self.psi is not None and self.psi > (self.psi_threshold or math.inf)


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """One model version."""

    name: str
    version: int
    rows: int
    window_rows: int
    columns: list[ColumnReport]


def report(reference: Reference, totals: NDArray[Any], window: NDArray[Any]) -> Report:
    """Describe a model by its totals and what they grew by in the window.

    Both have shape (tally.BINS + bins, columns).
    """
    columns = [
        _column(column, totals[:, index], window[:, index], reference)
        for index, column in enumerate(reference.columns)
    ]
    return Report(
        name=reference.name,
        version=reference.version,
        rows=int(totals[tally.ROWS].max()),
        window_rows=int(window[tally.ROWS].max()),
        columns=columns,
    )


def _column(
    column: Column, totals: NDArray[Any], window: NDArray[Any], reference: Reference
) -> ColumnReport:
    index, bound = _psi(column, tally.seen(column, window), len(reference.columns))
    shift, spread = _moments(column, window)
    return ColumnReport(
        column=column,
        missing=int(totals[tally.MISSING]),
        infinite=int(totals[tally.INFINITE]),
        out_of_range=None if column.minimum is None else int(totals[tally.OUTSIDE]),
        bins=[int(count) for count in tally.seen(column, totals)],
        psi=index,
        psi_threshold=bound,
        mean_shift=shift,
        spread=spread,
    )


def _psi(column: Column, live: NDArray[Any], columns: int) -> tuple[float | None, float | None]:
    """Return (index, threshold) of the window's histogram, where there are rows enough."""
    bins, rows = len(live), float(live.sum())
    if bins < 2 or column.rows < MIN_TRAINING_ROWS or rows < MIN_ROWS_A_BIN * bins:  # noqa: PLR2004
        return None, None
    return psi(live, tally.trained(column)), threshold(bins, rows, column.rows, columns)


def _moments(column: Column, window: NDArray[Any]) -> tuple[float | None, float | None]:
    """Return (shift of the mean, ratio of the deviations) of the window's finite values."""
    rows = float(window[tally.FINITE])
    # A mean of codes means nothing.
    if column.category or column.standard_deviation <= 0 or not rows:
        return None, None
    mean = float(window[tally.SUM]) / rows
    variance = float(window[tally.SQUARES]) / rows - mean * mean
    return mean, float(np.sqrt(max(variance, 0.0)))
