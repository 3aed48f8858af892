"""The schema: every column of a source, with its type, its unit, its range and its part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
from rich.console import Console
from rich.table import Table as RichTable

from isotherm.trainer import categories, columns, tasks
from isotherm.trainer.config import DataConfig, in_memory
from isotherm.trainer.sources import Source

HEADER: Final = ("column", "type", "unit", "part", "values")

_SHOWN: Final = 4
_LONGEST: Final = 48


def rows(
    source: Source, config: DataConfig | None = None
) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield a row of `HEADER` for each column, as the source has them.

    The part is `feature`, or `target` with what it is taken for, or what it says of its row, such
    as `weight`, or nothing. Before features and targets are chosen, it says what a column can be.
    """
    config = config or in_memory({})
    chosen = bool(config.features or config.targets)
    table = source.columns
    for field, cells in zip(table.schema, table.columns, strict=True):
        name, text = field.name, values(cells)
        if name in config.targets:
            task = config.task
            label = task in {"binary", "multiclass"} or (task == "auto" and tasks.is_label(cells))
            scale = config.transforms.get(name)
            number = f"target (number, as {scale})" if scale else "target (number)"
            part = "target (label)" if label and not scale else number
        elif name in config.features and categories.is_category(name, field.type, config):
            part, text = "feature (category)", _categories(cells, config)
        elif name in config.features:
            part = "feature"
        elif name in config.parts:
            part = config.parts[name]
        else:
            part = "" if chosen else _possible(cells)
        kind = columns.datatype(field.type) or str(field.type)
        yield name, kind, config.units.get(name, ""), part, text


def show(source: Source, console: Console, config: DataConfig | None = None) -> None:
    """Print the columns: a drawn table on a terminal, plain lines elsewhere."""
    cells = [*rows(source, config)]
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
    if pa.types.is_temporal(cells.type):
        times = cells.drop_null().to_pylist()
        return f"{min(times)} .. {max(times)}{note}"
    distinct = sorted({str(value) for value in cells.to_pylist() if value is not None})
    return f"{_some(distinct)}{note}"


def _categories(cells: Any, config: DataConfig) -> str:
    """Return the most frequent values of a category, and what counts as unknown."""
    rows_of = categories.counted(cells)
    known = categories.frequent(rows_of, config)
    absent = len(cells) - sum(rows_of.values())
    rare = sum(rows_of.values()) - sum(rows_of[name] for name in known)
    notes = [f", {count} {what}" for what, count in (("missing", absent), ("rare", rare)) if count]
    return _some(known) + "".join(notes)


def _some(names: Sequence[str]) -> str:
    more = f" ... ({len(names)})" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN])[:_LONGEST] + more


def _possible(cells: Any) -> str:
    if tasks.is_label(cells):
        return "feature, or target (label)"
    return "feature, or target" if columns.is_number(cells.type) else ""
