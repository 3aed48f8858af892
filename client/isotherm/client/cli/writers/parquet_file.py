"""Answers as a Parquet file, which can be read at its own name at all times.

A Parquet file ends with the list of what is in it, so nothing can be added to one. The new one
grows beside it, beginning with a copy of the old one's rows, and takes its place at the end.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from isotherm.client.cli import arrow
from isotherm.client.cli.answer import Series

# Of this size whatever the batches were, so that an interruption cannot be seen in the file.
GROUP_ROWS: Final = 2**17


class ParquetWriter:
    """Writes row groups of `GROUP_ROWS`, which is also what is held in memory.

    Args:
        path: The file; standard output where there is none.
        keep: Whether the rows that it has stay.
    """

    def __init__(self, path: Path | None, *, keep: bool = False) -> None:
        self._pa, self._parquet = arrow.modules()
        self._path = path
        self._partial = path.with_name(f"{path.name}.partial") if path is not None else None
        self._target = self._partial.open("wb") if self._partial else sys.stdout.buffer
        self._writer: Any = None
        self._waiting: list[Any] = []
        self._waiting_rows = 0
        self._rows = self._kept = 0
        self._broken = False
        if keep and path is not None:
            self._copy(path)

    @property
    def rows(self) -> int:
        """The rows that are written, with those that were there before."""
        return self._rows

    def write(self, columns: Sequence[Series]) -> None:
        """Add rows; numbers keep their types, and NaN stays NaN."""
        arrays = [
            self._pa.array(column.cells)
            if isinstance(column.cells, np.ndarray)
            else self._pa.array(column.cells, self._pa.string())
            for column in columns
        ]
        try:
            self._add(self._pa.table(arrays, names=[column.name for column in columns]))
        except BaseException:
            # What lies on the disk is no longer known; the old file is.
            self._broken = True
            raise

    def finish(self) -> None:
        """Do nothing: no rows have no columns, and a file of none says nothing."""

    def close(self) -> None:
        """Write the last row group and the list, and put the file in its place."""
        try:
            if not self._broken:
                self._complete()
        finally:
            self._let_go()

    def _copy(self, path: Path) -> None:
        try:
            with self._parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(GROUP_ROWS):
                    self._add(self._pa.Table.from_batches([batch]))
        except BaseException:
            self._let_go()
            raise
        self._kept = self._rows

    def _add(self, table: Any) -> None:
        self._waiting.append(table)
        self._waiting_rows += table.num_rows
        self._rows += table.num_rows
        while self._waiting_rows >= GROUP_ROWS:
            self._write_group(GROUP_ROWS)

    def _write_group(self, rows: int) -> None:
        # In one piece: where chunks meet, pages would end.
        table = self._pa.concat_tables(self._waiting).combine_chunks()
        if self._writer is None:
            self._writer = self._parquet.ParquetWriter(self._target, table.schema)
        self._writer.write_table(table.slice(0, rows), row_group_size=GROUP_ROWS)
        rest = table.slice(rows)
        self._waiting, self._waiting_rows = [rest], rest.num_rows

    def _complete(self) -> None:
        if self._waiting_rows:
            self._write_group(self._waiting_rows)
        if self._writer is None:
            return
        self._writer.close()
        if self._path is None or self._partial is None:
            self._target.flush()
        else:
            self._target.close()
            self._partial.replace(self._path)
            self._partial = None
            self._kept = self._rows

    def _let_go(self) -> None:
        if self._partial is not None:
            # Not in its place: there are the rows of the old file, if any.
            self._target.close()
            self._partial.unlink(missing_ok=True)
            self._partial = None
            self._rows = self._kept
