"""Rows of a Parquet file: by the names of its columns, read a piece at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import numpy as np

from isotherm.client import _category
from isotherm.client.cli import arrow
from isotherm.client.cli.failure import Failure
from isotherm.client.cli.model import Column, Model
from isotherm.client.cli.readers.reader import by_name, in_order, too_few
from isotherm.client.cli.readers.source import Source
from isotherm.client.cli.rows import Batch, Rows, Texts

# Of a column at a time; without it a row group's whole column would be read at once.
_BUFFER_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class ParquetReader:
    """Reads the features' columns, nulls as NaN; the other columns are not touched."""

    model: Model
    source: Source

    @property
    def size(self) -> int | None:
        """The rows of the file."""
        with self._opened() as file:
            rows: int = file.metadata.num_rows
            return rows

    def batches(self, size: int, *, skip: int = 0, first: int | None = None) -> Iterator[Batch]:
        """Yield the rows; see `Reader`."""
        name = self.source.name
        with self._opened() as file:
            columns = self._columns(file.schema_arrow)
            total = file.metadata.num_rows
            if total == 0:
                msg = f"{name} has no rows"
                raise Failure(msg)
            if skip > total:
                raise too_few(name, total, skip)
            place, pieces = skip, _from(file, columns, size, skip)
            for table in _cut(pieces, first or size, size):
                start, place = place, place + table.num_rows
                rows, texts = self._rows(table, columns)
                yield Batch(rows, name, "row", range(start + 1, place + 1), place, texts)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        pa, parquet = arrow.modules()
        if self.source.path is None:
            msg = "Parquet cannot be read from standard input, its list of columns is at the end"
            raise Failure(msg)
        with self.source.opened() as raw:
            try:
                file = parquet.ParquetFile(raw, buffer_size=_BUFFER_BYTES, pre_buffer=False)
            except (pa.ArrowInvalid, OSError) as error:
                msg = f"{self.source.name} is no Parquet file: {error}"
                raise Failure(msg) from error
            with file:
                yield file

    def _columns(self, schema: Any) -> list[str]:
        names: list[str] = schema.names
        source = self.source.name
        if self.model.contract:
            chosen = by_name(self.model, names, source, "column")
        else:
            chosen = in_order(self.model, len(names), source, "column")
        for feature, position in zip(self.model.features, chosen, strict=True):
            field = schema.field(position)
            if not (_is_number(field.type) if feature.lookup is None else _is_value(field.type)):
                expected = "numbers" if feature.lookup is None else "text"
                msg = f"{source}: column '{field.name}' is {field.type}, expected {expected}"
                raise Failure(msg)
        return [names[position] for position in chosen]

    def _rows(self, table: Any, columns: Sequence[str]) -> tuple[Rows, Texts]:
        pairs = [
            (each, table.column(name))
            for each, name in zip(self.model.features, columns, strict=True)
        ]
        rows = np.column_stack([_numbers(*pair) for pair in pairs])
        return rows, {
            index: _category.names(column)
            for index, (feature, column) in enumerate(pairs)
            if feature.lookup is not None
        }


def _from(file: Any, columns: Sequence[str], size: int, skip: int) -> Iterator[Any]:
    """Yield the rows behind the first `skip`, without reading the row groups before them."""
    pa, _ = arrow.modules()
    metadata = file.metadata
    groups = range(metadata.num_row_groups)
    ends = list(accumulate(metadata.row_group(group).num_rows for group in groups))
    wanted = [group for group, end in zip(groups, ends, strict=True) if end > skip]
    if not wanted:
        return
    left = skip - (ends[wanted[0] - 1] if wanted[0] else 0)
    for batch in file.iter_batches(size, row_groups=wanted, columns=list(columns)):
        if left < batch.num_rows:
            yield pa.Table.from_batches([batch.slice(left)])
        left = max(0, left - batch.num_rows)


def _numbers(feature: Column, column: Any) -> Any:
    if feature.lookup is not None:
        return _category.read(feature.name, column, feature.lookup).astype(np.float64)
    pa, _ = arrow.modules()
    # Large integers round, as they do on their way to a model's floats.
    return column.cast(pa.float64(), safe=False).to_numpy()


def _cut(pieces: Iterator[Any], first: int, size: int) -> Iterator[Any]:
    """Yield the rows of tables of any length again, in tables of `size`."""
    pa, _ = arrow.modules()
    wanted, rest = first, None
    for piece in pieces:
        rest = piece if rest is None else pa.concat_tables([rest, piece])
        while rest.num_rows >= wanted:
            yield rest.slice(0, wanted)
            rest, wanted = rest.slice(wanted), size
    if rest is not None and rest.num_rows:
        yield rest


def _is_value(kind: Any) -> bool:
    """Whether cells of a type may be values of a category: whatever is no list of others."""
    pa, _ = arrow.modules()
    return not pa.types.is_nested(kind)


def _is_number(kind: Any) -> bool:
    pa, _ = arrow.modules()
    types = pa.types
    tests = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
    return any(test(kind) for test in tests)
