"""Outcomes: what the models of a leaderboard answered to rows that they never saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from isotherm.trainer import objective, transform
from isotherm.trainer import weights as averages
from isotherm.trainer.candidates import Candidate
from isotherm.trainer.columns import Floats
from isotherm.trainer.data import Column
from isotherm.trainer.estimator import Fitted

_BINS: Final = 10


def truth(fitted: Fitted) -> Floats:
    """Return what a perfect model would answer to the rows left out: numbers, or 0 and 1."""
    return objective.of(fitted.table).truth(fitted.tested.y)


def left_out(fitted: Fitted, candidate: Candidate) -> Floats:
    """Return the candidate's answer to each row while it was left out, shape (rows, columns)."""
    return candidate.held_out_residuals + truth(fitted)


def covered(fitted: Fitted) -> NDArray[np.int64]:
    """Count the rows whose true value lies in the interval around the answer, for each target."""
    return np.asarray(_inside(fitted).sum(axis=0), dtype=np.int64)


def covered_share(fitted: Fitted) -> Floats:
    """Return their share, by what the rows count, for each target."""
    return averages.mean(_inside(fitted).T.astype(np.float64), fitted.tested.weights)


def _inside(fitted: Fitted) -> NDArray[np.bool_]:
    residuals = np.abs(fitted.leaderboard.chosen.interval_residuals)
    return np.asarray(residuals <= fitted.half_width)


def bounds(fitted: Fitted, target: int, given: Floats) -> tuple[Floats, Floats]:
    """Return the ends of the intervals around answers of one target, in its unit, any shape."""
    width = float(fitted.half_width[target])
    name = fitted.table.targets[target].transform
    if not name:
        return given - width, given + width
    learned = transform.learn(fitted.table.y[:, target : target + 1], [name])
    way = transform.bounded(name, float(learned.min()), float(learned.max()))
    # An answer that was put together from truth and residual may have lost its last digits.
    given = np.maximum(given, way.restore(np.array(-np.inf)))
    middle = transform.learn(given[..., np.newaxis], [name])[..., 0]
    return way.restore(middle - width), way.restore(middle + width)


def confusion(fitted: Fitted) -> NDArray[np.int64]:
    """Count rows by their class and by the class that was predicted, shape (classes, classes)."""
    size = len(fitted.classes)
    actual = fitted.tested.y[:, 0].astype(np.int64)
    predicted = left_out(fitted, fitted.leaderboard.chosen).argmax(axis=1)
    counts = np.bincount(actual * size + predicted, minlength=size * size)
    return np.asarray(counts.reshape(size, size), dtype=np.int64)


def accuracy(fitted: Fitted) -> tuple[float, float]:
    """Return the share of rows whose class is predicted, and that of the most frequent class.

    By what the rows count, where they do not count alike.
    """
    counts, weights = confusion(fitted), fitted.tested.weights
    if weights is None:
        total = counts.sum()
        return float(np.trace(counts) / total), float(counts.sum(axis=1).max() / total)
    actual = fitted.tested.y[:, 0].astype(np.int64)
    hits = left_out(fitted, fitted.leaderboard.chosen).argmax(axis=1) == actual
    frequent = np.bincount(actual, weights=weights).max() / weights.sum()
    return float(averages.mean(hits.astype(np.float64), weights)), float(frequent)


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
    tested = fitted.tested
    weights, keys = tested.weights, tested.split.together
    if candidate.scores and fitted.classes:
        return averages.standard_error(candidate.scores.rows, weights, keys)
    squares = np.square(candidate.held_out_residuals[:, 0])
    root = float(np.sqrt(averages.mean(squares, weights)))
    # Of a square root, a small change is that of the square, divided by twice the root.
    return averages.standard_error(squares, weights, keys) / (2 * root) if root else 0.0


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
    for column, cells in zip(fitted.table.features, fitted.table.x.T, strict=True):
        values = cells[~np.isnan(cells)]
        if column.categories or len(np.unique(values)) <= fifths:
            # A code or a flag has nothing between its values.
            continue
        counts, edges = np.histogram(values, bins=fifths)
        for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
            # Cells that are missing lie in no stretch.
            if count < len(values) / fifths / 2:
                found.append(
                    Sparse(column=column, low=float(low), high=float(high), rows=int(count))
                )
    return sorted(found, key=lambda one: one.rows)
