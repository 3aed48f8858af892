"""Sources: a file, a built-in dataset or a caller's own table, read as named Arrow columns."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet

from isotherm.trainer.errors import DataError

# The readings of the seed: Celsius, and the same days on a thermometer of unknown scale.
_T_C: Final = (0.5, 14.0, 15.0, 28.0, 11.0, 8.0, 3.0, -4.0, 6.0, 13.0, 21.0)
_T_U: Final = (35.7, 55.9, 58.2, 81.9, 56.3, 48.9, 33.9, 21.8, 48.4, 60.4, 68.4)

_FORMATS: Final = MappingProxyType(
    {
        ".csv": "CSV",
        ".parquet": "Parquet",
        ".arrow": "Arrow",
        ".feather": "Arrow",
        ".ipc": "Arrow",
    }
)


# A file that begins with so much white space is empty.
_BLANK_BYTES: Final = 4096


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Source:
    """Columns by name, as they were found.

    Attributes:
        name: as errors call it, such as `'house.csv'`.
        columns: a `pyarrow.Table`.
        sha256: of the bytes that were read; of a table in memory, of its Arrow stream.
    """

    name: str
    columns: Any
    sha256: str


def built_in(name: str | None) -> Source:
    """Return the built-in dataset of that name."""
    if name != "thermometer":
        msg = f"there is no built-in dataset '{name}'; use `thermometer`, or `--data FILE`"
        raise DataError(msg)
    lines = (f"{t_u},{t_c}\n" for t_u, t_c in zip(_T_U, _T_C, strict=True))
    sink = pa.BufferOutputStream()
    sink.write(("t_u,t_c\n" + "".join(lines)).encode())
    content = sink.getvalue()
    return _source(f"dataset '{name}'", _csv(pa.BufferReader(content)), content)


def of_file(path: Path) -> Source:
    """Read a CSV, Parquet, or Arrow (Feather) file, told apart by its name."""
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        *others, last = _FORMATS
        msg = (
            f"cannot tell the format of '{path}'; expected a name ending in "
            f"{', '.join(others)} or {last}"
        )
        raise DataError(msg)
    try:
        content = _content(path)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        msg = f"cannot read '{path}': {reason}; expected a {kind} file"
        raise DataError(msg) from error
    if not bytes(memoryview(content)[:_BLANK_BYTES]).strip():
        msg = f"'{path}' is empty; expected a header and rows"
        raise DataError(msg)
    try:
        columns = _READERS[kind](pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        msg = f"'{path}' is no {kind} table: {reason}"
        raise DataError(msg) from error
    return _source(f"'{path}'", columns, content)


def _content(path: Path) -> Any:
    """Read a file into Arrow's own memory.

    Arrow's threads let go of it when they are done, which may be while Python ends; letting go of
    Python's bytes then, they would abort the process.
    """
    with pa.OSFile(os.fspath(path)) as file:
        return file.read_buffer()


def is_table(value: Any) -> bool:
    """Whether `of_memory` takes the value: it has named columns."""
    return isinstance(value, Mapping) or hasattr(value, "__arrow_c_stream__")


def of_memory(value: Any, name: str = "the table") -> Source:
    """Take a table that the caller holds, without knowing the package it is from.

    Args:
        value: whatever exports an Arrow stream (pyarrow, pandas, polars, duckdb ...), or a dict of
            columns.
        name: as errors call it.
    """
    try:
        columns = pa.table(dict(value) if isinstance(value, Mapping) else value)
    except (pa.ArrowException, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        msg = f"{name} is no table of equally long, named columns of one type each: {reason}"
        raise DataError(msg) from error
    # In one piece and without notes, so that equal tables have equal bytes.
    columns = columns.replace_schema_metadata(None).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, columns.schema) as stream:
        stream.write_table(columns)
    return _source(name, columns, sink.getvalue())


def _source(name: str, columns: Any, content: Any) -> Source:
    return Source(name=name, columns=columns, sha256=hashlib.sha256(content).hexdigest())


def _csv(buffer: Any) -> Any:
    columns = pyarrow.csv.read_csv(buffer)
    # The blank in `a, b` is of no name, here as where the command line reads rows.
    return columns.rename_columns([name.strip() for name in columns.column_names])


def _parquet(buffer: Any) -> Any:
    return pyarrow.parquet.read_table(buffer)


def _arrow(buffer: Any) -> Any:
    """Read either of the two layouts that go by these names: the file, or the stream."""
    try:
        return pyarrow.feather.read_table(buffer)
    except pa.ArrowInvalid:
        buffer.seek(0)
        return pa.ipc.open_stream(buffer).read_all()


_READERS: Final[Mapping[str, Callable[[Any], Any]]] = MappingProxyType(
    {"CSV": _csv, "Parquet": _parquet, "Arrow": _arrow}
)
