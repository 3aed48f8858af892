"""Folds: which rows are left out, so that every model is measured on rows it never saw.

At random, every row is left out. By group, all rows of a group are left out together. By time, the
rows are cut into blocks: each is predicted by a fit to the rows before it, and the first third is
never left out, because nothing is before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from isotherm.trainer.columns import Floats
from isotherm.trainer.errors import DataError
from isotherm.trainer.splits import RANDOM, Split

LEAVE_ONE_OUT_ROWS: Final = 50
# A 5-fold error depends on the split (the line's RMSE on 11 rows from 1.78 to 2.91), so a small
# table is split more than once; a large one need not even be split in five.
REPEATED_ROWS: Final = 1000
LARGE_ROWS: Final = 100_000
FOLDS: Final = 5
REPEATS: Final = 3

# Leaving one group out must leave two.
MIN_GROUPS: Final = 3
# By time: the share of the rows that are only learned from, and how many they must be at least; and
# how many must be left to be predicted.
_FIRST: Final = 1 / 3
_FIRST_ROWS: Final = 2
_PREDICTED_ROWS: Final = 2

Masks = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Folds:
    """How the rows are left out.

    Attributes:
        held_out: shape (folds, rows), True where left out: at most once in every repeat.
        repeats: how often the rows are split anew.
        later: shape (folds, rows), True where a row is later than those left out, and may not be
            learned from either; None unless the split is by time.
    """

    method: str
    held_out: Masks
    repeats: int = 1
    later: Masks | None = None

    @property
    def learned(self) -> Masks:
        """The rows that each fold may learn from, shape (folds, rows)."""
        return ~self.held_out if self.later is None else ~(self.held_out | self.later)

    @property
    def tested(self) -> Masks:
        """The rows that some fold leaves out, shape (rows,)."""
        return np.asarray(self.held_out.any(axis=0))

    @property
    def blocks(self) -> NDArray[np.int64]:
        """The fold that leaves each tested row out, shape (tested rows,), in the first repeat."""
        first = self.held_out[: len(self.held_out) // self.repeats]
        return np.asarray(np.argmax(first, axis=0)[self.tested], dtype=np.int64)

    def gather(self, predictions: Floats) -> Floats:
        """Take each row's prediction from the fold that left it out.

        Args:
            predictions: shape (folds, rows, columns).

        Returns:
            Shape (repeats, tested rows, columns).
        """
        folds, rows, columns = predictions.shape
        split = self.held_out.reshape(self.repeats, -1, rows)
        by_repeat = predictions.reshape(self.repeats, folds // self.repeats, rows, columns)
        index = np.argmax(split, axis=1)[:, np.newaxis, :, np.newaxis]
        gathered = np.take_along_axis(by_repeat, index, axis=1)[:, 0]
        tested = self.tested
        return np.asarray(gathered if tested.all() else gathered[:, tested])


def folds(rows: int, seed: int, y: Floats | None = None, split: Split = RANDOM) -> Folds:
    """Leave out one at a time while that is cheap, else a share of the rows.

    Args:
        rows: of the table.
        seed: of the shuffling.
        y: shape (rows,); the classes of a label, which are spread evenly over the folds, where the
            split is random.
        split: by what rows are left out.

    Raises:
        DataError: there are too few groups, or times.
    """
    if split.kind == "time":
        return _forward(split)
    if split.kind == "group":
        return _grouped(split, seed)
    if rows <= LEAVE_ONE_OUT_ROWS:
        return Folds(method="leave-one-out", held_out=np.eye(rows, dtype=np.bool_))
    count = _count(rows)
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
    return Folds(
        method=f"{count}-fold{_times(repeats)}", held_out=np.vstack(splits), repeats=repeats
    )


def deal(keys: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Deal groups out to `count` parts of about as many rows; return the part of each row.

    Args:
        keys: shape (rows,), the group of each.
        count: of the parts, at most as many as there are groups.
        rng: of the order in which they are dealt.
    """
    groups, group_of_row, sizes = np.unique(keys, return_inverse=True, return_counts=True)
    part_of_group = np.empty(len(groups), dtype=np.int64)
    held = np.zeros(count, dtype=np.int64)
    # Each to the part with the fewest rows; in any order, so that repeats differ.
    for group in rng.permutation(len(groups)):
        part = int(np.argmin(held))
        part_of_group[group] = part
        held[part] += sizes[group]
    return np.asarray(part_of_group[group_of_row])


def _grouped(split: Split, seed: int) -> Folds:
    rows, groups = len(split.keys), len(np.unique(split.keys))
    if groups < MIN_GROUPS:
        msg = (
            f"column '{split.column}' has {groups} group{'' if groups == 1 else 's'}; a split by "
            f"group needs {MIN_GROUPS}, so that two are left when one is left out: choose another "
            "column, or another split"
        )
        raise DataError(msg)
    alone = rows <= LEAVE_ONE_OUT_ROWS
    count = groups if alone else min(_count(rows), groups)
    repeats = REPEATS if count < groups and rows <= REPEATED_ROWS else 1
    rng = np.random.default_rng(seed)
    parts = [deal(split.keys, count, rng) for _ in range(repeats)]
    method = "leave-one-out" if count == groups else f"{count}-fold{_times(repeats)}"
    return Folds(
        method=f"{method} (by {split.column})",
        held_out=np.vstack([part == np.arange(count)[:, np.newaxis] for part in parts]),
        repeats=repeats,
    )


def _forward(split: Split) -> Folds:
    """Cut the rows into blocks of time; each is predicted from those before it."""
    keys = split.keys
    starts = [*_starts(split)]
    ends = [*starts[1:], int(keys.max()) + 1]
    held_out = np.stack(
        [(first <= keys) & (keys < end) for first, end in zip(starts, ends, strict=True)]
    )
    later = np.stack([keys >= end for end in ends])
    method = f"forward {len(starts)}-fold (by {split.column})"
    return Folds(method=method, held_out=held_out, later=later)


def _starts(split: Split) -> Iterator[int]:
    """Yield the time at which each block begins."""
    keys, rows = split.keys, len(split.keys)
    # Rows before each time, which is a rank.
    before = np.concatenate([[0], np.cumsum(np.bincount(keys))[:-1]])
    possible = np.flatnonzero(before >= max(_FIRST * rows, _FIRST_ROWS))
    if not len(possible) or rows - before[possible[0]] < _PREDICTED_ROWS:
        # One time may hold so many rows that there is no third of them before the last.
        possible = np.flatnonzero((before >= _FIRST_ROWS) & (rows - before >= _PREDICTED_ROWS))[-1:]
    if not len(possible):
        times = "one time" if len(before) == 1 else f"{len(before)} different times"
        msg = (
            f"column '{split.column}' has {times} in {rows} rows, which leaves no {_FIRST_ROWS} "
            f"rows to learn from with {_PREDICTED_ROWS} later ones to predict; bring more rows, "
            "finer times, or choose another split"
        )
        raise DataError(msg)
    if rows <= LEAVE_ONE_OUT_ROWS:
        yield from possible.tolist()
        return
    wanted = np.linspace(before[possible[0]], rows, _count(rows) + 1)[:-1]
    # The first time with as many rows before it; a time of many rows may be that of several.
    yield from np.unique(
        possible[np.searchsorted(before[possible], wanted).clip(max=len(possible) - 1)]
    ).tolist()


def _count(rows: int) -> int:
    return FOLDS if rows <= LARGE_ROWS else 2


def _times(repeats: int) -> str:
    return f", {repeats} times" if repeats > 1 else ""
