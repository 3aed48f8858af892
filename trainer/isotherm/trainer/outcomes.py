"""Outcomes: what the models of a leaderboard answered to rows that they never saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from isotherm.trainer import objective
from isotherm.trainer.candidates import Candidate
from isotherm.trainer.columns import Floats
from isotherm.trainer.data import Column
from isotherm.trainer.estimator import Fitted

_BINS: Final = 10


def truth(fitted: Fitted) -> Floats:
    """Return what a perfect model would answer, shape (rows, columns): numbers, or 0 and 1."""
    return objective.of(fitted.table).truth(fitted.table.y)


def left_out(fitted: Fitted, candidate: Candidate) -> Floats:
    """Return the candidate's answer to each row while it was left out, shape (rows, columns)."""
    return candidate.held_out_residuals + truth(fitted)


def covered(fitted: Fitted) -> NDArray[np.int64]:
    """Count the rows whose true value lies in the interval around the answer, for each target."""
    residuals = np.abs(fitted.leaderboard.chosen.held_out_residuals)
    return np.asarray((residuals <= fitted.half_width).sum(axis=0), dtype=np.int64)


def confusion(fitted: Fitted) -> NDArray[np.int64]:
    """Count rows by their class and by the class that was predicted, shape (classes, classes)."""
    size = len(fitted.classes)
    actual = fitted.table.y[:, 0].astype(np.int64)
    predicted = left_out(fitted, fitted.leaderboard.chosen).argmax(axis=1)
    counts = np.bincount(actual * size + predicted, minlength=size * size)
    return np.asarray(counts.reshape(size, size), dtype=np.int64)


def accuracy(fitted: Fitted) -> tuple[float, float]:
    """Return the share of rows whose class is predicted, and that of the most frequent class."""
    counts = confusion(fitted)
    return float(np.trace(counts) / counts.sum()), float(counts.sum(axis=1).max() / counts.sum())


def calibration(fitted: Fitted) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Compare the probability of each class with how often it was right, in bins that hold rows.

    Returns:
        The mean probability, the share that was right, and the count of each bin.
    """
    given = left_out(fitted, fitted.leaderboard.chosen).ravel()
    right = truth(fitted).ravel()
    if len(fitted.classes) == 2:  # noqa: PLR2004  the other class says the same again
        given, right = given[1::2], right[1::2]
    bins = np.minimum((given * _BINS).astype(np.int64), _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS)
    some = counts > 0
    mean = np.bincount(bins, weights=given, minlength=_BINS)[some] / counts[some]
    share = np.bincount(bins, weights=right, minlength=_BINS)[some] / counts[some]
    return mean, share, counts[some]


def error_bar(fitted: Fitted, candidate: Candidate) -> float:
    """Return the standard error of a candidate's cross-validation error, in the same unit."""
    if candidate.scores and fitted.classes:
        rows = candidate.scores.rows
        return float(rows.std(ddof=1) / np.sqrt(len(rows)))
    squares = np.square(candidate.held_out_residuals[:, 0])
    root = float(np.sqrt(squares.mean()))
    # Of a square root, a small change is that of the square, divided by twice the root.
    return float(squares.std(ddof=1) / np.sqrt(len(squares)) / (2 * root)) if root else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Sparse:
    """A fifth of a feature's range that holds few rows."""

    column: Column
    low: float
    high: float
    rows: int


def sparse(fitted: Fitted, fifths: int = 5) -> list[Sparse]:
    """Return the stretches with less than half of their share of the rows, the emptiest first."""
    found = []
    for column, values in zip(fitted.table.features, fitted.table.x.T, strict=True):
        if len(np.unique(values)) <= fifths:
            # A code or a flag has nothing between its values.
            continue
        counts, edges = np.histogram(values, bins=fifths)
        for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
            if count < fitted.table.rows / fifths / 2:
                found.append(
                    Sparse(column=column, low=float(low), high=float(high), rows=int(count))
                )
    return sorted(found, key=lambda one: one.rows)
