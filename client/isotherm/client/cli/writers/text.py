"""Answers as text: CSV, JSON lines, a JSON array."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from isotherm.client.cli import answer
from isotherm.client.cli.answer import Series
from isotherm.client.cli.writers.sink import Sink


class Form(Protocol):
    """How rows become text. `nothing` is the text of no rows at all, `tail` comes last."""

    nothing: str
    tail: str

    def head(self, columns: Sequence[Series]) -> str:
        """Return what comes before the first row."""
        ...

    def body(self, columns: Sequence[Series], *, first: bool) -> str:
        """Return the rows; `first` where there were none before."""
        ...


class Csv:
    """A line of names, and a line a row; numbers in as many digits as they have."""

    nothing = ""
    tail = ""

    def head(self, columns: Sequence[Series]) -> str:
        """Return the line of names."""
        return _csv([[column.name for column in columns]])

    def body(self, columns: Sequence[Series], *, first: bool) -> str:
        """Return the rows, a line each."""
        return _csv(answer.lines(columns))


class JsonLines:
    """An object a line; NaN and infinities, which JSON lacks, are null."""

    nothing = ""
    tail = ""

    def head(self, columns: Sequence[Series]) -> str:
        """Return nothing: each line has its names."""
        return ""

    def body(self, columns: Sequence[Series], *, first: bool) -> str:
        """Return the rows, a line each."""
        return "".join(f"{json.dumps(each)}\n" for each in _objects(columns))


class JsonArray:
    """An array of one object a row; NaN and infinities, which JSON lacks, are null."""

    nothing = "[]\n"
    tail = "\n]\n"

    def head(self, columns: Sequence[Series]) -> str:
        """Return the bracket."""
        return "[\n"

    def body(self, columns: Sequence[Series], *, first: bool) -> str:
        """Return the rows, with a comma before each but the first."""
        texts = (json.dumps(each, indent=2) for each in _objects(columns))
        rows = ",\n".join(f"  {text}".replace("\n", "\n  ") for text in texts)
        return rows if first else f",\n{rows}"


class TextWriter:
    """Writes rows as text.

    Args:
        sink: Where the text goes.
        form: How rows become text.
        rows: How many are there already.
    """

    def __init__(self, sink: Sink, form: Form, rows: int = 0) -> None:
        self._sink = sink
        self._form = form
        self._rows = rows
        self._written = False

    @property
    def rows(self) -> int:
        """The rows that are written, with those that were there before."""
        return self._rows

    def write(self, columns: Sequence[Series]) -> None:
        """Add rows."""
        first = not self._rows
        head = self._form.head(columns) if first else ""
        text = self._form.body(columns, first=first)
        self._sink.write(f"{head}{text}".encode())
        self._written = True
        self._rows += len(columns[0].cells)

    def finish(self) -> None:
        """Write what stands for no rows, if there were none."""
        if not self._rows:
            self._sink.write(self._form.nothing.encode())

    def close(self) -> None:
        """End the text."""
        try:
            if self._written and self._form.tail:
                self._sink.write(self._form.tail.encode())
        finally:
            self._sink.close()


def _csv(rows: Iterator[tuple[Any, ...]] | list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _objects(columns: Sequence[Series]) -> Iterator[dict[str, Any]]:
    names = [column.name for column in columns]
    for row in answer.lines(columns):
        yield dict(zip(names, map(_json_value, row), strict=True))


def _json_value(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
