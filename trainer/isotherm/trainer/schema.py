"""The schema: every column of a source, with its type, its unit, its range and its part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
from rich.console import Console
from rich.table import Table as RichTable

from isotherm.trainer import columns, tasks
from isotherm.trainer.config import Task
from isotherm.trainer.sources import Source

HEADER: Final = ("column", "type", "unit", "part", "values")

_SHOWN: Final = 4
_LONGEST: Final = 48


def rows(
    source: Source,
    *,
    features: Sequence[str] = (),
    targets: Sequence[str] = (),
    units: Mapping[str, str] | None = None,
    task: Task = "auto",
) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield a row of `HEADER` for each column, as the source has them.

    The part is `feature`, or `target` with what it is taken for, or nothing. Before features and
    targets are chosen, it says what a column can be.
    """
    chosen = bool(features or targets)
    table = source.columns
    for field, cells in zip(table.schema, table.columns, strict=True):
        if field.name in targets:
            label = task in {"binary", "multiclass"} or (task == "auto" and tasks.is_label(cells))
            part = "target (label)" if label else "target (number)"
        elif field.name in features:
            part = "feature"
        else:
            part = "" if chosen else _possible(cells)
        kind = columns.datatype(field.type) or str(field.type)
        yield field.name, kind, (units or {}).get(field.name, ""), part, values(cells)


def show(source: Source, console: Console, **chosen: Any) -> None:
    """Print the columns: a drawn table on a terminal, plain lines elsewhere."""
    cells = [*rows(source, **chosen)]
    if console.is_terminal:
        table = RichTable(title=f"{source.name}, {source.columns.num_rows} rows")
        for title in HEADER:
            table.add_column(title)
        for row in cells:
            table.add_row(*row)
        console.print(table)
        return
    console.out(f"{source.name}, {source.columns.num_rows} rows", highlight=False)
    widths = [max(map(len, column)) for column in zip(HEADER, *cells, strict=True)]
    for row in (HEADER, *cells):
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        # Indented, so that a column called `mean` is not taken for a line of the leaderboard.
        console.out("  " + "  ".join(padded).rstrip(), highlight=False)


def values(cells: Any) -> str:
    """Return the range of numbers, or the first classes of anything else; and what is missing."""
    absent = int(columns.missing(cells).sum())
    note = f", {absent} missing" if absent else ""
    if absent == len(cells):
        return f"none, {absent} missing"
    if columns.is_number(cells.type) and not pa.types.is_boolean(cells.type):
        present = cells.filter(pa.array(~columns.missing(cells)))
        numbers = present.cast(pa.float64(), safe=False).to_numpy()
        return f"{numbers.min():.6g} .. {numbers.max():.6g}{note}"
    distinct = sorted({str(value) for value in cells.to_pylist() if value is not None})
    more = f" ... ({len(distinct)})" if len(distinct) > _SHOWN else ""
    text = ", ".join(distinct[:_SHOWN])
    return f"{text[:_LONGEST]}{more}{note}"


def _possible(cells: Any) -> str:
    if tasks.is_label(cells):
        number = columns.is_number(cells.type)
        return "feature, or target (label)" if number else "target (label)"
    return "feature, or target" if columns.is_number(cells.type) else ""
