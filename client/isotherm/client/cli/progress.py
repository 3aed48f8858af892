"""How far a run has come: a bar on standard error, for those who look."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from isotherm.client.cli.rows import Batch

_REFRESHES_PER_S: Final = 4


class _Rows(ProgressColumn):
    """Rows so far, and rows a second."""

    def render(self, task: Task) -> Text:
        """Return the text."""
        rows = task.fields["rows"]
        rate = rows / task.elapsed if task.elapsed else 0.0
        return Text(f"{rows:,} rows, {rate:,.0f}/s")


class Bar:
    """A bar that follows how much of the input was read; no bar where nobody looks."""

    def __init__(self, progress: Progress | None, size: int | None) -> None:
        self._progress = progress
        self._task: TaskID | None = None
        if progress is not None:
            self._task = progress.add_task("", total=size, rows=0)
        self._rows = 0

    def advance(self, batch: Batch) -> None:
        """Count a batch that is written."""
        self._rows += len(batch)
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=batch.read, rows=self._rows)


@contextmanager
def shown(size: int | None, console: Console, *, wanted: bool) -> Iterator[Bar]:
    """Show a bar until the block ends, if one is wanted and the console is a terminal.

    Args:
        size: How much there is to read, in the unit of `Batch.read`; None where nobody knows.
        console: Standard error.
        wanted: Whether the run is one that takes long.
    """
    if not wanted or not console.is_terminal:
        yield Bar(None, size)
        return
    columns = (BarColumn(), TaskProgressColumn(), _Rows(), TimeRemainingColumn())
    with Progress(*columns, console=console, refresh_per_second=_REFRESHES_PER_S) as progress:
        yield Bar(progress, size)
