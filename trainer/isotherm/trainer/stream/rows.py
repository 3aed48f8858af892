"""Rows: what a pass sees of a row group, decoded, with what is held out and what is learned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isotherm.trainer.stream.files import Group
from isotherm.trainer.stream.frame import Frame
from isotherm.trainer.stream.holding import Keys, Mask
from isotherm.trainer.stream.reading import SLICE_ROWS, Reader, Values

Numbers = NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Part:
    """Some rows of a row group.

    Attributes:
        numbers: of the rows in the whole table, shape (rows,).
        rows: decoded, shape (rows, width); overwritten when the next ones are read.
        held_out: which are.
        keys: of the groups that they stand in, if they stand in any.
    """

    numbers: Numbers
    rows: Values
    held_out: Mask
    keys: Keys | None

    def counting(self) -> Part:
        """Return the rows whose weight, which stands last, is not 0."""
        counts = self.rows[:, -1] > 0
        if counts.all():
            return self
        return Part(
            numbers=self.numbers[counts],
            rows=self.rows[counts],
            held_out=self.held_out[counts],
            keys=None if self.keys is None else self.keys[counts],
        )


class Rows:
    """Reads row groups as a frame has them. Each thread has its own."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._reader = Reader(frame.files, frame.names)
        self._decoded = np.empty((SLICE_ROWS, frame.decoder.width), dtype=np.float32)

    def parts(self, group: Group) -> Iterator[Part]:
        """Yield the rows of a group."""
        decoder = self._frame.decoder
        for part in self._reader.slices(group):
            rows = self._decoded[: part.cells.num_rows]
            decoder.decode(part.cells, rows)
            holding = self._frame.holding
            found = Part(
                numbers=part.numbers,
                rows=rows,
                held_out=holding.mask(part),
                keys=holding.keys(part),
            )
            yield found.counting() if decoder.weight else found

    def learned(self, group: Group) -> Iterator[tuple[Values, Mask | None]]:
        """Yield rows (until the next ones), and which are learned from; None: all of them.

        Targets are as they are learned, and a row that counts as the average one does counts 1.
        """
        frame = self._frame
        first = len(frame.features)
        last = first + len(frame.targets)
        for part in self.parts(group):
            rows, held_out = part.rows, part.held_out
            if frame.outputs:
                y = rows[:, first:last]
                y[:] = frame.outputs.standardise(y.astype(np.float64))
            rows[:, last:] /= frame.weight
            yield rows, ~held_out if held_out.any() else None
