"""Readers of rows, one module a form: CSV, JSON lines, Parquet."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final

from isotherm.client.cli.model import Model
from isotherm.client.cli.readers.csv_file import CsvReader
from isotherm.client.cli.readers.json_lines import JsonLinesReader
from isotherm.client.cli.readers.parquet_file import ParquetReader
from isotherm.client.cli.readers.reader import Reader
from isotherm.client.cli.readers.source import Source


class InputFormat(StrEnum):
    """How rows are written down."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


_BY_SUFFIX: Final = MappingProxyType(
    {
        ".jsonl": InputFormat.JSONL,
        ".ndjson": InputFormat.JSONL,
        ".json": InputFormat.JSONL,
        ".parquet": InputFormat.PARQUET,
        ".pq": InputFormat.PARQUET,
    }
)
_READERS: Final[MappingProxyType[InputFormat, Callable[[Model, Source], Reader]]] = (
    MappingProxyType(
        {
            InputFormat.CSV: CsvReader,
            InputFormat.JSONL: JsonLinesReader,
            InputFormat.PARQUET: ParquetReader,
        }
    )
)


def reader_of(model: Model, path: Path | None, form: InputFormat | None = None) -> Reader:
    """Return the reader of a file, or of standard input; CSV unless the suffix says otherwise."""
    suffix = path.suffix.lower() if path is not None else ""
    form = form or _BY_SUFFIX.get(suffix, InputFormat.CSV)
    return _READERS[form](model, Source(path))
