"""Probes: the rows on which an exported file is tried before it is published."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from isotherm.trainer import contract
from isotherm.trainer.columns import Floats
from isotherm.trainer.errors import ExportError

# Of the table, spread over it.
_TABLE_ROWS: Final = 4096
_RANDOM_ROWS: Final = 256
# So many times the range of each feature beyond its ends.
_BEYOND: Final = 10.0
# Errors of rounding grow with the numbers that are added: there, as many times the usual ones.
FAR: Final = 2 * _BEYOND + 1

_ALONE: Final = 8

Answer = Callable[[Floats], Floats]


def near(x: Floats, seed: int) -> list[Floats]:
    """Return batches where the table lies: one row, its rows, golden rows, and random ones.

    Args:
        x: the table's features, shape (rows, features).
        seed: of the random rows.
    """
    rows = np.linspace(0, len(x) - 1, min(len(x), _TABLE_ROWS), dtype=np.int64)
    low, high = x.min(axis=0), x.max(axis=0)
    random = np.random.default_rng(seed).uniform(low, high, (_RANDOM_ROWS, x.shape[1]))
    return [x[:1], x[rows], contract.golden_inputs(x, seed), random]


def far(x: Floats) -> Floats:
    """Return extremes: all features far below, all far above, every second one each, and zero."""
    low, high = x.min(axis=0), x.max(axis=0)
    below, above = low - _BEYOND * (high - low), high + _BEYOND * (high - low)
    even = np.arange(x.shape[1]) % 2 == 0
    mixed = np.where(even, below, above), np.where(even, above, below)
    return np.stack([below, above, *mixed, np.zeros_like(low)])


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
