"""Writers of answers, one module a form: text, a table, Parquet."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final

from isotherm.client.cli.writers.parquet_file import ParquetWriter
from isotherm.client.cli.writers.sink import FileSink, StandardOutput
from isotherm.client.cli.writers.table import TableWriter
from isotherm.client.cli.writers.text import Csv, Form, JsonArray, JsonLines, TextWriter
from isotherm.client.cli.writers.writer import Writer


class Format(StrEnum):
    """How answers are written down."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"


BY_SUFFIX: Final = MappingProxyType(
    {
        ".csv": Format.CSV,
        ".json": Format.JSON,
        ".jsonl": Format.JSONL,
        ".ndjson": Format.JSONL,
        ".parquet": Format.PARQUET,
        ".pq": Format.PARQUET,
    }
)
_TEXTS: Final[MappingProxyType[Format, type[Form]]] = MappingProxyType(
    {Format.CSV: Csv, Format.JSON: JsonArray, Format.JSONL: JsonLines}
)


def writer_of(form: Format, path: Path | None, *, rows: int = 0, keep: int = 0) -> Writer:
    """Return the writer to a file, or to standard output.

    Args:
        form: How answers are written down; a table goes to standard output.
        path: The file.
        rows: How many rows the file has that stay.
        keep: The bytes that they take at the front of a file of text.
    """
    if form is Format.TABLE:
        return TableWriter()
    if form is Format.PARQUET:
        return ParquetWriter(path, keep=rows > 0)
    sink = FileSink(path, keep) if path is not None else StandardOutput()
    return TextWriter(sink, _TEXTS[form](), rows)
