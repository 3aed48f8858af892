"""The survey: a second pass, which counts and samples the rows now that their columns are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from isotherm.trainer.columns import Floats
from isotherm.trainer.errors import DataError
from isotherm.trainer.stream import holding
from isotherm.trainer.stream.frame import Frame
from isotherm.trainer.stream.reading import Values
from isotherm.trainer.stream.rows import Rows
from isotherm.trainer.stream.sample import Sample, priorities
from isotherm.trainer.stream.scan import OnRows
from isotherm.trainer.world import World

# The fewest rows held out that say anything about a model.
_FEWEST_HELD_OUT = 10


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sums:
    """Sums over the rows that are learned from, each as often as it counts.

    Attributes:
        squares: of an encoded row with a 1 behind it, times itself, shape (width + 1, width + 1);
            empty where the rows are too wide for it.
        products: of the same with the targets as they are learned, shape (width + 1, targets).
        classes: rows of each class of a label.
        weight: of all these rows; their number where each counts once.
    """

    squares: Floats
    products: Floats
    classes: Floats
    weight: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Survey:
    """What the second pass has found.

    Attributes:
        sample: decoded rows, drawn from all of them.
        sample_held_out: which rows of the sample are held out.
        held_out: decoded rows that are held out: all of them, or a sample.
        keys: of the groups that these stand in; all 0 where they stand alone.
        learned: the rows of each row group that are learned from.
    """

    sample: Values
    sample_held_out: NDArray[np.bool_]
    held_out: Values
    keys: NDArray[np.int64]
    learned: NDArray[np.int64]
    sums: Sums


def survey(
    frame: Frame, size: int, seed: int, world: World, on_rows: OnRows, *, straight: bool
) -> Survey:
    """Read every row once more.

    Args:
        frame: of the table.
        size: rows of each of the two samples, at most.
        seed: of the sample.
        world: the processes that share the row groups.
        on_rows: told of the rows that have been read.
        straight: whether to sum what a line is solved from.

    Raises:
        DataError: too few rows are held out, or left to learn from.
    """
    width = frame.decoder.width
    # Behind a row stands whether it is held out; behind one that is, the key of its group.
    sample, held_out = Sample(size, width + 1), Sample(size, width + 1)
    groups = frame.files.groups
    learned = np.zeros(len(groups))
    sums = _Summing(frame, straight=straight)
    rows_of = Rows(frame)
    for index in range(world.rank, len(groups), world.size):
        for part in rows_of.parts(groups[index]):
            rows, held = part.rows, part.held_out
            drawn = priorities(part.numbers, seed, holding.SAMPLE)
            sample.offer(drawn, np.column_stack([rows, held.astype(np.float32)]))
            if held.any():
                keys = np.zeros(len(rows)) if part.keys is None else part.keys
                behind = np.column_stack([rows[held], keys[held].astype(np.float32)])
                held_out.offer(drawn[held], behind)
                rows = rows[~held]
            learned[index] += len(rows)
            if len(rows):
                sums.add(rows)
        on_rows(groups[index].rows)
    return _result(frame, sample, held_out, world, world.total(learned), sums.result(world))


def _result(
    frame: Frame, sample: Sample, held_out: Sample, world: World, learned: Floats, sums: Sums
) -> Survey:
    found = _merged(sample, world)
    left_out = _merged(held_out, world)
    if len(left_out) < _FEWEST_HELD_OUT or learned.sum() < _FEWEST_HELD_OUT:
        msg = (
            f"of {frame.files.rows} rows of {frame.files.name}, {len(left_out)} are held out and "
            f"{int(learned.sum())} learned from, which is too few to stream; leave --stream out, "
            "or choose another data.held_out"
        )
        raise DataError(msg)
    return Survey(
        sample=found[:, :-1],
        sample_held_out=found[:, -1] > 0,
        held_out=left_out[:, :-1],
        keys=left_out[:, -1].astype(np.int64),
        learned=learned.astype(np.int64),
        sums=sums,
    )


def _merged(sample: Sample, world: World) -> Values:
    parts = world.gather(sample.held())
    if len(parts) == 1:
        return np.asarray(parts[0][1])
    merged = Sample(sample.size, sample.width)
    for part in parts:
        merged.offer(*part)
    return np.asarray(merged.held()[1])


class _Summing:
    def __init__(self, frame: Frame, *, straight: bool) -> None:
        self._frame = frame
        self._straight = straight and not frame.classes
        width = frame.encoding.width + 1 if self._straight else 0
        self._squares = np.zeros((width, width))
        self._products = np.zeros((width or 1, len(frame.targets)))
        self._classes = np.zeros(len(frame.classes))
        self._weight = np.zeros(1)

    def add(self, rows: Values) -> None:
        frame = self._frame
        x, y = frame.decoder.split(rows.astype(np.float64))
        weights = rows[:, -1].astype(np.float64) / frame.weight if frame.decoder.weight else None
        self._weight += len(rows) if weights is None else weights.sum()
        if frame.outputs is None:
            index = y[:, 0].astype(np.int64)
            self._classes += np.bincount(index, weights, minlength=len(self._classes))
            return
        learned = frame.outputs.standardise(y)
        ones = np.ones((len(x), 1))
        design = np.column_stack([frame.encoding.encode(x), ones]) if self._straight else ones
        weighted = design if weights is None else design * weights[:, np.newaxis]
        # By torch, which keeps to the threads that it was given.
        left = torch.from_numpy(weighted).T
        if self._straight:
            self._squares += (left @ torch.from_numpy(design)).numpy()
        self._products += (left @ torch.from_numpy(learned)).numpy()

    def result(self, world: World) -> Sums:
        parts = (self._squares, self._products, self._classes, self._weight)
        flat = world.total(np.concatenate([part.ravel() for part in parts]))
        split = np.split(flat, np.cumsum([part.size for part in parts])[:-1])
        shaped = [one.reshape(part.shape) for one, part in zip(split, parts, strict=True)]
        return Sums(
            squares=shaped[0], products=shaped[1], classes=shaped[2], weight=float(shaped[3][0])
        )
