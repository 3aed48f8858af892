"""Answers as a table for people: numbers in six digits, units in the heads, not many rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

import typer
from rich.console import Console
from rich.table import Table

from isotherm.client.cli import answer
from isotherm.client.cli.answer import Series
from isotherm.client.cli.failure import Failure

# More are not read, and the width of a column is that of its widest cell: all are held.
TABLE_ROWS: Final = 1000


class TableWriter:
    """Prints a table of the first rows.

    On a terminal a longer one is cut, and says so. Elsewhere somebody would miss the rest: a longer
    one is refused.
    """

    # None, until all of them are: a table is printed as a whole.
    rows = 0

    def __init__(self, console: Console | None = None) -> None:
        # Units stand in brackets, which rich would take for markup.
        self._console = console or Console(markup=False, highlight=False)
        self._heads: list[str] = []
        self._lines: list[tuple[Any, ...]] = []

    def write(self, columns: Sequence[Series]) -> None:
        """Add rows, one more than the table may have at the most."""
        self._heads = [column.label for column in columns]
        room = TABLE_ROWS + 1 - len(self._lines)
        self._lines += islice(answer.lines(columns), room)

    def finish(self) -> None:
        """Print the table."""
        cut = len(self._lines) > TABLE_ROWS
        if cut and not self._console.is_terminal:
            msg = f"more than {TABLE_ROWS} rows are no table: add --format csv, or --output FILE"
            raise Failure(msg)
        table = Table()
        for head in self._heads:
            table.add_column(head, justify="right")
        for line in self._lines[:TABLE_ROWS]:
            table.add_row(*map(_text, line))
        self._console.print(table)
        if cut:
            note = f"the first {TABLE_ROWS} rows; for all of them add --output FILE or --format csv"
            typer.echo(f"note: {note}", err=True)

    def close(self) -> None:
        """Print nothing more."""


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    return f"{cell:.6g}" if isinstance(cell, float) else str(cell)
