"""An output that an earlier run has begun: how many rows it has, and whether they are this run's.

A file of text ends where its last whole line does; what an interruption left behind it is cut off.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isotherm.client.cli import arrow
from isotherm.client.cli.answer import Series
from isotherm.client.cli.failure import Failure, Misuse
from isotherm.client.cli.model import Model
from isotherm.client.cli.rows import Batch, Cell
from isotherm.client.cli.writers import Format
from isotherm.v1.categories import name_of


@dataclass(frozen=True, slots=True)
class Begun:
    """What is there of an output.

    Attributes:
        path: The file.
        rows: Its whole rows.
        end: The bytes that they take at the front of a file of text.
        last: The last row's cells by name; empty where there is none.
    """

    path: Path
    rows: int = 0
    end: int = 0
    last: dict[str, Any] = field(default_factory=dict)

    def check_columns(self, columns: Sequence[Series]) -> None:
        """Raise Failure where a run writes other columns than the file has."""
        names = [column.name for column in columns]
        if self.rows and names != list(self.last):
            msg = (
                f"{self.path} has the columns {', '.join(self.last)}, and this run writes "
                f"{', '.join(names)}: go on with the model and the flags that began it"
            )
            raise Failure(msg)

    def check_row(self, model: Model, batch: Batch) -> None:
        """Raise Failure where the features of a batch's first row are not those of the last."""
        for index, feature in enumerate(model.features):
            texts = batch.texts.get(index)
            value = batch.rows[0, index].item() if texts is None else texts[0]
            found = self.last.get(feature.name)
            if feature.name in self.last and not _same(found, value):
                msg = (
                    f"row {self.rows} of {self.path} has {found} for '{feature.name}', and "
                    f"{batch.place(0)} has {value}: it was made from other rows, or from another "
                    "--offset"
                )
                raise Failure(msg)


def begun(path: Path, form: Format) -> Begun:
    """Return what is there of an output; a file that is empty or absent has no rows.

    Raises:
        Failure: The file is no such output.
        Misuse: Nothing can be added to a file of this form.
    """
    if not path.exists() or path.stat().st_size == 0:
        return Begun(path)
    if form is Format.CSV:
        return _csv(path)
    if form is Format.JSONL:
        return _json_lines(path)
    if form is Format.PARQUET:
        return _parquet(path)
    msg = (
        f"a JSON array cannot be gone on with: write JSON lines, as with --output {path.stem}.jsonl"
    )
    raise Misuse(msg)


def checked(batches: Iterator[Batch], model: Model, there: Begun) -> Iterator[Batch]:
    """Yield batches without their first row, which is the last one of what is there."""
    first = next(batches, None)
    if first is not None:
        there.check_row(model, first)
        if len(first) > 1:
            yield first.part(1, len(first))
    yield from batches


def _csv(path: Path) -> Begun:
    with path.open("rb") as file:
        records = _records(file)
        head = next(records, None)
        if head is None:
            return Begun(path)
        rows, end, last = 0, 0, b""
        for record in records:
            rows, end, last = rows + 1, end + len(record), record
    if not rows:
        return Begun(path)
    try:
        names, cells = csv.reader(io.StringIO((head + last).decode(), newline=""))
        return Begun(path, rows, len(head) + end, dict(zip(names, cells, strict=True)))
    except ValueError as error:
        raise _other(path, "CSV") from error


def _records(file: io.BufferedReader) -> Iterator[bytes]:
    """Yield the complete records of a CSV file; a quoted cell may hold the end of a line."""
    record = b""
    for line in file:
        record = record + line if record else line
        if line.endswith(b"\n") and record.count(b'"') % 2 == 0:
            yield record
            record = b""


def _json_lines(path: Path) -> Begun:
    rows, end, last = 0, 0, b""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                rows, end, last = rows + 1, end + len(line), line
    if not rows:
        return Begun(path)
    try:
        cells = json.loads(last)
    except ValueError as error:
        raise _other(path, "JSON lines") from error
    if not isinstance(cells, dict):
        raise _other(path, "JSON lines")
    return Begun(path, rows, end, cells)


def _parquet(path: Path) -> Begun:
    pa, parquet = arrow.modules()
    try:
        with parquet.ParquetFile(path) as file:
            rows = file.metadata.num_rows
            groups = file.metadata.num_row_groups
            last = file.read_row_group(groups - 1) if rows else None
    except pa.ArrowInvalid as error:
        raise _other(path, "Parquet") from error
    if last is None:
        return Begun(path)
    (cells,) = last.slice(last.num_rows - 1).to_pylist()
    return Begun(path, rows, 0, cells)


def _other(path: Path, form: str) -> Failure:
    return Failure(
        f"{path} is no {form} file of an earlier run: give another --output, or --overwrite"
    )


def _same(cell: Any, value: Cell) -> bool:
    if not isinstance(value, float):
        return name_of(cell) == value
    if cell is None:
        return not math.isfinite(value)
    try:
        found = float(cell)
    except (TypeError, ValueError):
        return False
    return found == value or (math.isnan(found) and math.isnan(value))
