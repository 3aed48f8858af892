"""The split: by what rows are left out together; at random, by time, or by group."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isotherm.trainer import columns
from isotherm.trainer.config import SplitKind
from isotherm.trainer.errors import DataError

Keys = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Split:
    """By what rows are left out.

    Attributes:
        column: of the times or groups; empty at random.
        keys: shape (rows,): a time's rank, equal for equal times, or a group's number; no rows at
            random.
    """

    kind: SplitKind = "random"
    column: str = ""
    keys: Keys

    @property
    def together(self) -> Keys | None:
        """The keys of rows that stand together, or None where each stands alone."""
        return None if self.kind == "random" else self.keys

    def take(self, chosen: NDArray[np.bool_]) -> Split:
        """Return the split of some of the rows, chosen by a mask of shape (rows,)."""
        if self.kind == "random":
            return self
        # Numbered anew: a key that no row has would be a time of its own.
        return replace(self, keys=_numbered(self.keys[chosen]))


RANDOM: Final = Split(keys=np.zeros(0, dtype=np.int64))


def read(where: str, cells: Any, kind: SplitKind, column: str) -> Split:
    """Return the split by a column.

    Args:
        where: the column, as an error begins.
        cells: a `pyarrow.ChunkedArray`.
        kind: time or group.
        column: its name.

    Raises:
        DataError: a cell is missing, or no time.
    """
    ranked = times(where, cells) if kind == "time" else groups(where, cells)
    return Split(kind=kind, column=column, keys=_numbered(ranked))


def times(where: str, cells: Any) -> NDArray[Any]:
    """Return dates, timestamps or numbers as what can be ordered, shape (rows,)."""
    kind = cells.type
    _check_missing(where, cells, "time")
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        whole = pa.int32() if pa.types.is_date32(kind) else pa.int64()
        return np.asarray(cells.cast(whole).to_numpy(), dtype=np.int64)
    if pa.types.is_integer(kind):
        return np.asarray(cells.to_numpy())
    if columns.is_number(kind) and not pa.types.is_boolean(kind):
        return np.asarray(cells.cast(pa.float64()).to_numpy())
    msg = (
        f"{where} holds {kind}, expected times: dates or timestamps (in a CSV, such as 2025-01-31 "
        "or 2025-01-31 12:00:00), or numbers that grow with time"
    )
    raise DataError(msg)


def groups(where: str, cells: Any) -> NDArray[np.int64]:
    """Return a number for each different value, shape (rows,), in the order of their first rows."""
    _check_missing(where, cells, "group")
    kind = cells.type
    plain = cells.cast(kind.value_type) if pa.types.is_dictionary(kind) else cells
    indices = plain.combine_chunks().dictionary_encode().indices
    return np.asarray(indices.to_numpy(), dtype=np.int64)


def _numbered(values: NDArray[Any]) -> Keys:
    return np.asarray(np.unique(values, return_inverse=True)[1], dtype=np.int64)


def _check_missing(where: str, cells: Any, noun: str) -> None:
    absent = columns.missing(cells)
    if absent.any():
        row = int(np.argmax(absent)) + 1
        msg = (
            f"{where} has no {noun} in row {row}, so it cannot be said which rows it may be "
            f"predicted from; fill or remove the row ({int(absent.sum())} of {len(cells)})"
        )
        raise DataError(msg)
