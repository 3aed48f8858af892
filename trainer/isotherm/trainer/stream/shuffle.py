"""The shuffle: in every epoch, other row groups come together, and their rows in another order.

Of the row groups of an epoch, as many are read at a time as memory allows, at random from all over
the table; what lies in memory is a fill, and its rows are dealt out to steps at random. All of it
follows from the seed, the epoch and the fill, so a training can go on from any step without a
memory of the steps before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isotherm.trainer.stream.ahead import Ahead
from isotherm.trainer.stream.files import Group
from isotherm.trainer.stream.holding import Mask
from isotherm.trainer.stream.reading import Values

# From a row group to slices of its rows, each with which of them are learned from, or None: all.
RowsOf = Callable[[Group], Iterator[tuple[Values, Mask | None]]]

# With fewer row groups in a fill, a sorted table would be learned from in stretches.
FEW_GROUPS: Final = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """How one process goes through its rows.

    Attributes:
        groups: that this process reads.
        learned: of each group, the rows that are learned from.
        capacity: rows that a fill may have.
        batch: rows of a step in this process.
        seed: of all orders, together with `rank`.
    """

    groups: tuple[Group, ...]
    learned: NDArray[np.int64]
    capacity: int
    batch: int
    seed: int
    rank: int = 0

    @property
    def rows(self) -> int:
        """The rows that this process learns from in an epoch."""
        return int(self.learned.sum())

    @property
    def whole(self) -> bool:
        """Whether all rows fit into one fill, and need not be read again."""
        return self.rows <= self.capacity

    @cached_property
    def bounds(self) -> NDArray[np.int64]:
        """Where fills begin and end among the rows of an epoch, shape (fills + 1,)."""
        fills = max(-(-self.rows // self.capacity), 1)
        # Equal parts: a last fill of few rows would be poorly shuffled.
        return np.arange(fills + 1, dtype=np.int64) * self.rows // fills

    @cached_property
    def steps_of_fills(self) -> NDArray[np.int64]:
        """The steps that each fill is dealt out to."""
        return -(-np.diff(self.bounds) // self.batch)

    @property
    def steps(self) -> int:
        """The steps of an epoch."""
        return int(self.steps_of_fills.sum())

    @property
    def groups_a_fill(self) -> float:
        """How many row groups come together."""
        return len(self.groups) / max(len(self.bounds) - 1, 1)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return the order in which the groups are read in an epoch, from 0.

        Neighbours go to different fills, so that each fill has something of every stretch of the
        table: one that is sorted, or drifts, is then learned from as a whole all the same.
        """
        count, fills = len(self.groups), len(self.bounds) - 1
        if self.whole:
            return np.arange(count)
        generator = self._generator(epoch)
        fill_of_group = np.concatenate(
            [
                generator.permutation(fills)[: len(stretch)]
                for stretch in np.array_split(np.arange(count), -(-count // fills))
            ]
        )
        return np.lexsort((generator.random(count), fill_of_group))

    def deal(self, epoch: int, fill: int) -> tuple[Tensor, ...]:
        """Return for each step of a fill which of its rows it takes."""
        rows = int(self.bounds[fill + 1] - self.bounds[fill])
        if not rows:
            return ()
        order = torch.from_numpy(self._generator(epoch, fill).permutation(rows))
        # Equal parts: a last batch of one row has no statistics.
        return order.tensor_split(int(self.steps_of_fills[fill]))

    def _generator(self, *place: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, self.rank, *place))


class Walk:
    """Yields the batches of a plan, from any step on, in the steps that all processes take."""

    def __init__(self, plan: Plan, rows_of: RowsOf, width: int, steps: int) -> None:
        """Take what reads the rows, the numbers of one, and the steps of an epoch.

        The steps are those of the process with the most; the others end an epoch without rows.
        """
        self._plan = plan
        self._rows_of = rows_of
        self._width = width
        self.steps = steps

    @property
    def numbers_a_step(self) -> int:
        """How many numbers a step looks at, at most."""
        return min(self._plan.batch, self._plan.rows) * self._width

    def batches(self, start: int, epochs: int) -> Iterator[Tensor | None]:
        """Yield the rows of each step from `start` on, (rows, width); None where none are left."""
        plan = self._plan
        epoch, within = divmod(start, self.steps)
        ends = np.cumsum(plan.steps_of_fills)
        first = int(np.searchsorted(ends, within, side="right"))
        skipped = within - int(ends[first - 1] if first else 0)
        for _ in range(self.steps - within if first == len(ends) else 0):
            yield None
        if first == len(ends):
            epoch, first, skipped = epoch + 1, 0, 0
        places = [(one, fill) for one in range(epoch, epochs) for fill in range(len(ends))][first:]
        for (one, fill), rows in zip(places, self._filled(places), strict=True):
            for chosen in plan.deal(one, fill)[skipped:]:
                yield rows.index_select(0, chosen)
            skipped = 0
            if fill == len(ends) - 1:
                yield from [None] * (self.steps - plan.steps)

    def _filled(self, places: Sequence[tuple[int, int]]) -> Iterator[Tensor]:
        """Yield the rows of each fill, named by epoch and number."""
        largest = int(np.diff(self._plan.bounds).max())
        if self._plan.whole:
            rows = torch.empty(largest, self._width)
            _Filler(self._plan, self._rows_of, [(0, 0)]).fill(rows)
            yield from [rows] * len(places)
            return
        buffers = [torch.empty(largest, self._width) for _ in range(2)]
        with Ahead(_Filler(self._plan, self._rows_of, places), buffers) as filled:
            yield from filled


class _Filler:
    """Puts the rows of a plan's fills into buffers."""

    def __init__(self, plan: Plan, rows_of: RowsOf, places: Sequence[tuple[int, int]]) -> None:
        self._plan = plan
        self._rows_of = rows_of
        self._places = iter(places)
        self._epoch = -1
        self._slices: Iterator[tuple[Values, NDArray[np.int64]]] = iter(())
        # What a fill had no room for.
        self._left: tuple[Values, NDArray[np.int64]] | None = None

    def fill(self, buffer: Tensor) -> int | None:
        """Put the next rows into a buffer."""
        place = next(self._places, None)
        if place is None:
            return None
        epoch, fill = place
        first, last = (int(bound) for bound in self._plan.bounds[fill : fill + 2])
        if epoch != self._epoch:
            self._epoch, self._left = epoch, None
            self._slices = self._stream(epoch, first)
        out, wanted = buffer.numpy()[: last - first], last - first
        while wanted:
            rows, chosen = next(self._slices) if self._left is None else self._left
            taken = chosen[:wanted]
            # Straight into the buffer: these are all the numbers of the table, in every epoch.
            np.take(rows, taken, axis=0, out=out[-wanted:][: len(taken)], mode="clip")
            wanted -= len(taken)
            self._left = (rows, chosen[len(taken) :]) if len(taken) < len(chosen) else None
        return last - first

    def _stream(self, epoch: int, skipped: int) -> Iterator[tuple[Values, NDArray[np.int64]]]:
        """Yield slices and the places of the rows of an epoch, without so many of the first."""
        for index in self._plan.order(epoch):
            learned = int(self._plan.learned[index])
            if learned <= skipped:
                # Not even read.
                skipped -= learned
                continue
            for rows, mask in self._rows_of(self._plan.groups[index]):
                chosen = np.arange(len(rows)) if mask is None else np.flatnonzero(mask)
                dropped = min(skipped, len(chosen))
                skipped -= dropped
                if dropped < len(chosen):
                    yield rows, chosen[dropped:]
