"""Holding out: which rows a stream learns nothing from, told row by row.

They take the place of the folds. Whether a row is held out depends on its number in the table, on
its group, or on its time, never on the order or the processes in which rows are read.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isotherm.trainer import splits
from isotherm.trainer.errors import DataError
from isotherm.trainer.stream.reading import Slice
from isotherm.trainer.stream.sample import below, priorities
from isotherm.v1.categories import name_of

Mask = NDArray[np.bool_]
Keys = NDArray[np.int64]

# As many groups are told apart as float32 has whole numbers.
_KEYS: Final = 2**24

# The seeds of a row's random numbers for different purposes.
HELD_OUT: Final = 0
SAMPLE: Final = 1


class Holding(Protocol):
    """Tells which rows are held out.

    Attributes:
        column: that must be read for it; None: none.
        method: what the leaderboard calls it.
    """

    @property
    def column(self) -> str | None: ...  # noqa: D102

    @property
    def method(self) -> str: ...  # noqa: D102

    def mask(self, part: Slice) -> Mask:
        """Return True for each row that is held out, shape (rows,)."""
        ...

    def keys(self, part: Slice) -> Keys | None:
        """Return a number for each row, the same for rows that stand together; None: none do."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Random:
    """A random share of the rows."""

    share: float
    seed: int
    column: None = None
    method: str = "hold-out"

    def mask(self, part: Slice) -> Mask:
        """Look at the rows' numbers alone."""
        drawn = priorities(part.numbers, self.seed, HELD_OUT)
        return np.asarray(drawn < below(self.share))

    def keys(self, part: Slice) -> None:
        """Each row stands alone."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Groups:
    """All rows of a random share of the groups."""

    column: str
    share: float
    seed: int
    where: str

    @property
    def method(self) -> str:
        """What the leaderboard calls it."""
        return f"hold-out by {self.column}"

    def mask(self, part: Slice) -> Mask:
        """Look at the rows' groups."""
        return np.asarray(self._numbers(part) < below(self.share))

    def keys(self, part: Slice) -> Keys:
        """Return a number for the group of each row."""
        return (self._numbers(part) % np.uint64(_KEYS)).astype(np.int64)

    def _numbers(self, part: Slice) -> NDArray[np.uint64]:
        """Return a random number for each row, the same for all rows of a group."""
        cells = part.cells.column(self.column)
        if pa.types.is_dictionary(cells.type):
            cells = cells.cast(cells.type.value_type)
        encoded = cells.dictionary_encode()
        drawn = np.array([self._number(one) for one in encoded.dictionary.to_pylist()], np.uint64)
        if encoded.indices.null_count:
            row = int(np.argmax(encoded.indices.is_null().to_numpy(zero_copy_only=False)))
            msg = f"{self.where} has no group in row {part.first + row + 1}; fill it in"
            raise DataError(msg)
        return np.asarray(drawn[encoded.indices.to_numpy()])

    def _number(self, value: object) -> int:
        text = f"{self.seed}/{name_of(value)}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())


@dataclass(frozen=True, kw_only=True, slots=True)
class Times:
    """The rows later than a moment."""

    column: str
    after: float
    where: str

    @property
    def method(self) -> str:
        """What the leaderboard calls it."""
        return f"forward hold-out by {self.column}"

    def mask(self, part: Slice) -> Mask:
        """Look at the rows' times."""
        return np.asarray(times(self.where, part, self.column) > self.after)

    def keys(self, part: Slice) -> None:
        """Each row stands alone."""


def times(where: str, part: Slice, column: str) -> NDArray[Any]:
    """Return the times of rows as numbers that can be ordered."""
    return splits.times(where, pa.chunked_array([part.cells.column(column)]))
