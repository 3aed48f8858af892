"""Folds: which rows are left out, so that every model is measured on rows it never saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from isotherm.trainer.data import Floats

LEAVE_ONE_OUT_ROWS: Final = 50
# A 5-fold error depends on the split (the line's RMSE on 11 rows from 1.78 to 2.91), so a small
# table is split more than once; a large one need not even be split in five.
REPEATED_ROWS: Final = 1000
LARGE_ROWS: Final = 100_000
FOLDS: Final = 5
REPEATS: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Folds:
    """How the rows are left out.

    Attributes:
        held_out: shape (folds, rows), True where left out; each row once in every repeat.
        repeats: how often the rows are split anew.
    """

    method: str
    held_out: NDArray[np.bool_]
    repeats: int = 1

    def gather(self, predictions: Floats) -> Floats:
        """Take each row's prediction from the fold that left it out.

        Args:
            predictions: shape (folds, rows, columns).

        Returns:
            Shape (repeats, rows, columns).
        """
        folds, rows, columns = predictions.shape
        split = self.held_out.reshape(self.repeats, -1, rows)
        by_repeat = predictions.reshape(self.repeats, folds // self.repeats, rows, columns)
        index = np.argmax(split, axis=1)[:, np.newaxis, :, np.newaxis]
        return np.asarray(np.take_along_axis(by_repeat, index, axis=1)[:, 0])


def folds(rows: int, seed: int, y: Floats | None = None) -> Folds:
    """Leave one row out at a time while that is cheap, else a share of the shuffled rows.

    Args:
        rows: of the table.
        seed: of the shuffling.
        y: shape (rows,); the classes of a label, which are spread evenly over the folds.
    """
    if rows <= LEAVE_ONE_OUT_ROWS:
        return Folds(method="leave-one-out", held_out=np.eye(rows, dtype=np.bool_))
    count = FOLDS if rows <= LARGE_ROWS else 2
    repeats = REPEATS if rows <= REPEATED_ROWS else 1
    rng = np.random.default_rng(seed)
    splits = []
    for _ in range(repeats):
        fold_of_row = np.empty(rows, dtype=np.int64)
        order = rng.permutation(rows)
        # Dealt out class by class, so that neighbours of one class go to different folds.
        dealt = order if y is None else order[np.argsort(y[order], kind="stable")]
        fold_of_row[dealt] = np.arange(rows) % count
        splits.append(fold_of_row == np.arange(count)[:, np.newaxis])
    times = f", {repeats} times" if repeats > 1 else ""
    return Folds(method=f"{count}-fold{times}", held_out=np.vstack(splits), repeats=repeats)
