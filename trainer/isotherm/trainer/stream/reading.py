"""Reading: the cells of a row group, slice by slice, as numbers beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from isotherm.trainer import categories
from isotherm.trainer.errors import DataError
from isotherm.trainer.stream.files import Files, Group

Values = NDArray[np.float32]

# Rows that are decoded at once.
SLICE_ROWS: Final = 16_384
# Bytes of each column that are read from the file at once; a row group may be larger than memory.
_READ_BYTES: Final = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Slice:
    """Some rows of a row group, as they are in the file.

    Attributes:
        first: the number of the first one in the whole table, from 0.
        cells: a `pyarrow.RecordBatch`.
    """

    group: Group
    first: int
    cells: Any

    @property
    def numbers(self) -> NDArray[np.uint64]:
        """The numbers of the rows in the whole table."""
        return np.arange(self.first, self.first + self.cells.num_rows, dtype=np.uint64)


class Reader:
    """Reads row groups; one file is open at a time. Each thread has its own."""

    def __init__(self, files: Files, names: Sequence[str]) -> None:
        self._files = files
        self._names = list(dict.fromkeys(names))
        self._opened: tuple[int, Any] | None = None

    def slices(self, group: Group) -> Iterator[Slice]:
        """Yield the rows of a group, `SLICE_ROWS` at a time.

        Raises:
            DataError: the group cannot be read, or its file has changed.
        """
        self._files.check(group.file)
        first = group.first
        try:
            file = self._open(group.file)
            batches = file.iter_batches(
                SLICE_ROWS, row_groups=[group.index], columns=self._names, use_threads=False
            )
            for cells in batches:
                yield Slice(group=group, first=first, cells=cells)
                first += cells.num_rows
        except (OSError, pa.ArrowException) as error:
            reason = str(error).partition("\n")[0]
            msg = (
                f"{self._files.where(group)} cannot be read beyond row {first - group.first}: "
                f"{reason}; write the file again, or take it out"
            )
            raise DataError(msg) from error

    def _open(self, index: int) -> Any:
        if self._opened is None or self._opened[0] != index:
            # Neither mapped nor read ahead: the whole file would be counted as ours.
            file = pq.ParquetFile(
                self._files.paths[index],
                memory_map=False,
                buffer_size=_READ_BYTES,
                pre_buffer=False,
                # Where the writer left checksums.
                page_checksum_verification=True,
            )
            self._opened = index, file
        return self._opened[1]


def numbers(cells: Any) -> Values:
    """Return cells as float32, NaN where they are missing, infinite where they are too large."""
    with np.errstate(over="ignore"):
        return _numbers(cells).astype(np.float32, copy=False)


def _numbers(cells: Any) -> NDArray[Any]:
    kind = cells.type
    if pa.types.is_decimal(kind) or pa.types.is_boolean(kind) or cells.null_count:
        cells = cells.cast(pa.float64(), safe=False)
    found: NDArray[Any] = cells.to_numpy(zero_copy_only=False)
    return found


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Decoder:
    """From slices to rows of float32: features, targets, and what a row counts, if that differs.

    Attributes:
        features: names of the columns in.
        targets: names of the columns out.
        values: of the columns that hold categories or classes, by name.
        weight: the column of what each row counts, if there is one.
    """

    features: tuple[str, ...]
    targets: tuple[str, ...]
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    weight: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that a decoded row has, in its order."""
        return (*self.features, *self.targets, *([self.weight] if self.weight else []))

    @property
    def width(self) -> int:
        """The numbers of a decoded row."""
        return len(self.names)

    def decode(self, cells: Any, out: Values) -> None:
        """Put rows into `out`, of shape (rows, width)."""
        # The scan has seen to it that no number is too large.
        for position, name in enumerate(self.names):
            out[:, position] = self.column(name, cells.column(name))

    def column(self, name: str, cells: Any) -> NDArray[Any]:
        """Return one column of the cells, shape (rows,)."""
        values = self.values.get(name)
        if values is None:
            return _numbers(cells)
        return categories.codes(pa.chunked_array([cells]), values)

    def split(self, rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return features and targets of decoded rows."""
        first, last = len(self.features), len(self.features) + len(self.targets)
        return rows[:, :first], rows[:, first:last]
