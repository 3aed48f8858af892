"""Rows of a CSV file: by the names in its first line, or in order.

Read with Python's own module. Faster readers decide otherwise what a number, a quote or a missing
value is, and the rows of a file must not depend on what is installed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final, TextIO

import numpy as np

from isotherm.client.cli.failure import Failure
from isotherm.client.cli.model import Column, Model
from isotherm.client.cli.readers.reader import batched, by_name, in_order, pass_over
from isotherm.client.cli.readers.source import Source
from isotherm.client.cli.rows import Batch, Cell, Rows, cell, number

# The number of a line, and its cells.
_Line = tuple[int, list[str]]

_TABLE_ROWS: Final = 4096


@dataclass(frozen=True, slots=True)
class CsvReader:
    """Reads CSV, with a line of names or without; lines that are empty are passed over."""

    model: Model
    source: Source

    @property
    def size(self) -> int | None:
        """The bytes of the file."""
        return self.source.size

    def batches(self, size: int, *, skip: int = 0, first: int | None = None) -> Iterator[Batch]:
        """Yield the rows; see `Reader`."""
        name = self.source.name
        with _lines(self.source) as (lines, read):
            positions, rows = self._begin(lines)
            pass_over(rows, skip, name)

            place = f"{name}, line "
            if self.model.categories:
                chosen = list(zip(self.model.features, positions, strict=True))

                def row(line: int, cells: list[str]) -> list[Cell]:
                    return _mixed_row(cells, chosen, f"{place}{line}")

            else:

                def row(line: int, cells: list[str]) -> list[Cell]:
                    return [*_row(cells, positions, f"{place}{line}")]

            yield from batched(self.model, rows, name, (first or size, size), row, read)

    def _begin(self, lines: Iterator[_Line]) -> tuple[Sequence[int], Iterator[_Line]]:
        """Return where the features are, and the lines that are rows."""
        name = self.source.name
        head = next(lines, None)
        if head is None:
            msg = f"{name} is empty"
            raise Failure(msg)
        header = [cell.strip() for cell in head[1]]
        has_names = not all(_is_number(cell) for cell in header)
        # Without a contract the features have no names to look for.
        if has_names and self.model.contract:
            positions = by_name(self.model, header, name, "column")
        else:
            positions = in_order(self.model, len(header), name, "column")
        start = next(lines, None) if has_names else head
        if start is None:
            msg = f"{name} has a header and no rows"
            raise Failure(msg)
        return positions, chain([start], lines)


def table(model: Model, path: Path) -> Rows:
    """Return the features' columns of a whole file, of shape (rows, features)."""
    reader = CsvReader(model, Source(path))
    return np.concatenate([batch.rows for batch in reader.batches(_TABLE_ROWS)])


def named_columns(path: Path, choose: Callable[[Sequence[str]], Sequence[int]]) -> Rows:
    """Return columns of a file with a line of names; `choose` gets them, returns positions."""
    with _lines(Source(path)) as (lines, _):
        head = next(lines, None)
        start = next(lines, None)
        if head is None or start is None:
            msg = f"{path} must have a line of names, and rows below it"
            raise Failure(msg)
        positions = choose([cell.strip() for cell in head[1]])
        return np.array(
            [_row(row, positions, f"{path}, line {line}") for line, row in chain([start], lines)]
        )


@contextmanager
def _lines(source: Source) -> Iterator[tuple[Iterator[_Line], Callable[[], int]]]:
    """Open a file; give its lines that are not empty, and what tells how far it was read."""
    with source.opened() as file:
        # utf-8-sig: spreadsheets write a mark at the front, which would be part of the first name.
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        try:
            yield _numbered(text, source.name), file.tell if source.size is not None else int
        finally:
            # The file is closed by whoever opened it.
            text.detach()


def _numbered(text: TextIO, name: str) -> Iterator[_Line]:
    reader = csv.reader(text)
    try:
        for row in reader:
            if any(map(str.strip, row)):
                yield reader.line_num, row
    except (csv.Error, UnicodeDecodeError) as error:
        msg = f"{name} is no CSV file: {error}"
        raise Failure(msg) from error


def _row(cells: Sequence[str], positions: Sequence[int], place: str) -> list[float]:
    try:
        return [float(cells[position]) for position in positions]
    except (IndexError, ValueError):
        # Something is missing, or wrong; which it is takes longer to say.
        _check_length(cells, positions, place)
        return [number(cells[position], place) for position in positions]


def _mixed_row(
    cells: Sequence[str], chosen: Sequence[tuple[Column, int]], place: str
) -> list[Cell]:
    _check_length(cells, [position for _, position in chosen], place)
    return [cell(feature, cells[position], place) for feature, position in chosen]


def _check_length(cells: Sequence[str], positions: Sequence[int], place: str) -> None:
    if len(cells) <= max(positions):
        msg = f"{place} has {len(cells)} cells, expected at least {max(positions) + 1}"
        raise Failure(msg)


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True
