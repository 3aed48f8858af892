"""Probes: the rows on which an exported file is tried before it is published."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from isotherm.trainer import contract
from isotherm.trainer.columns import Column, Floats
from isotherm.trainer.errors import ExportError

# Of the table, spread over it.
_TABLE_ROWS: Final = 4096
_RANDOM_ROWS: Final = 256
# So many times the range of each feature beyond its ends.
_BEYOND: Final = 10.0
# Errors of rounding grow with the numbers that are added: there, as many times the usual ones.
FAR: Final = 2 * _BEYOND + 1

_ALONE: Final = 8
# Of the random cells that may be missing.
_MISSING_SHARE: Final = 0.25

Answer = Callable[[Floats], Floats]


def near(x: Floats, seed: int, columns: Sequence[Column] = ()) -> list[Floats]:
    """Return batches where the table lies: one row, its rows, golden rows, and random ones.

    Args:
        x: the table's features, shape (rows, features).
        seed: of the random rows.
        columns: what the features are; empty: numbers that are never missing.
    """
    rows = np.linspace(0, len(x) - 1, min(len(x), _TABLE_ROWS), dtype=np.int64)
    low, high = np.nanmin(x, axis=0), np.nanmax(x, axis=0)
    rng = np.random.default_rng(seed)
    random = rng.uniform(low, high, (_RANDOM_ROWS, x.shape[1]))
    for index, column in enumerate(columns):
        if column.categories:
            # The unknown value among them, at either end.
            random[:, index] = rng.integers(-1, len(column.categories) + 1, _RANDOM_ROWS)
        if column.missing != "refuse":
            random[rng.random(_RANDOM_ROWS) < _MISSING_SHARE, index] = np.nan
    return [x[:1], x[rows], contract.golden_inputs(x, seed, columns), random]


def far(x: Floats, columns: Sequence[Column] = ()) -> Floats:
    """Return extremes: all features far below, all far above, every second one each, and zero.

    A category is unknown by numbers that are no code: far below, far above, and between two codes.
    """
    low, high = np.nanmin(x, axis=0), np.nanmax(x, axis=0)
    below, above = low - _BEYOND * (high - low), high + _BEYOND * (high - low)
    even = np.arange(x.shape[1]) % 2 == 0
    mixed = np.where(even, below, above), np.where(even, above, below)
    rows = [below, above, *mixed, np.zeros_like(low)]
    takes = np.array([column.missing != "refuse" for column in columns])
    if takes.any():
        between = np.array([0.5 if column.categories else 0.0 for column in columns])
        rows += [between, np.where(takes, np.nan, below)]
    return np.stack(rows)


def check_independent(answer: Answer, x: Floats, *, absolute: float, relative: float) -> None:
    """Raise ExportError where the answer to a row depends on the other rows of its batch.

    A server puts the rows of many callers into one batch: each must get its own answer.
    """
    rows = x[np.linspace(0, len(x) - 1, min(len(x), _ALONE), dtype=np.int64)]
    together = answer(rows)
    alone = np.concatenate([answer(row[np.newaxis]) for row in rows])
    if together.shape != alone.shape:
        msg = f"the model gives {together.shape} for {len(rows)} rows, expected a row for each"
        raise ExportError(msg)
    apart = np.abs(together - alone) > absolute + relative * np.abs(alone)
    if apart.any():
        row = int(np.argmax(apart.any(axis=1)))
        msg = (
            f"the model's answer to a row depends on the rows beside it: {alone[row].tolist()} "
            f"alone, {together[row].tolist()} among {len(rows)}; served in batches, it would "
            "depend on who else asks"
        )
        raise ExportError(msg)
