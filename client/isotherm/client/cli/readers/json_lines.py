"""Rows of JSON lines: one object a line, or one array."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO

from isotherm.client.cli.failure import Failure
from isotherm.client.cli.model import Column, Model
from isotherm.client.cli.readers.reader import batched, by_name, in_order, pass_over, quoted
from isotherm.client.cli.readers.source import Source
from isotherm.client.cli.rows import Batch, Cell
from isotherm.v1.categories import name_of

# The number of a line, and its text, which is read when it is wanted.
_Line = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class JsonLinesReader:
    """Reads objects by the features' names, and arrays in order; empty lines are passed over."""

    model: Model
    source: Source

    @property
    def size(self) -> int | None:
        """The bytes of the file."""
        return self.source.size

    def batches(self, size: int, *, skip: int = 0, first: int | None = None) -> Iterator[Batch]:
        """Yield the rows; see `Reader`."""
        name = self.source.name
        with self.source.opened() as file:
            lines = _numbered(file)
            start = next(lines, None)
            if start is None:
                msg = f"{name} is empty"
                raise Failure(msg)
            keys = self._keys(*start)
            rows = chain([start], lines)
            pass_over(rows, skip, name)

            def row(line: int, text: bytes) -> list[Cell]:
                place = f"{name}, line {line}"
                return _row(self.model, _value(text, place), keys, place)

            read = file.tell if self.size is not None else int
            yield from batched(self.model, rows, name, (first or size, size), row, read)

    def _keys(self, line: int, text: bytes) -> Sequence[str] | int:
        """Return the keys of the objects, in the order of the features, or the arrays' length."""
        place = f"{self.source.name}, line {line}"
        value = _value(text, place)
        if isinstance(value, list):
            return len(in_order(self.model, len(value), place, "value"))
        if not isinstance(value, dict):
            raise _neither(value, place)
        names = list(value)
        # Without a contract the features have no names to look for.
        if self.model.contract:
            return [names[position] for position in by_name(self.model, names, place, "key")]
        in_order(self.model, len(names), place, "key")
        return names


def _numbered(file: BinaryIO) -> Iterator[_Line]:
    for line, text in enumerate(file, start=1):
        if not text.isspace():
            yield line, text


def _value(text: bytes, place: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        msg = f"{place} is no JSON: {error}; expected one object a line (of an array: jq -c '.[]')"
        raise Failure(msg) from error


def _row(model: Model, value: Any, keys: Sequence[str] | int, place: str) -> list[Cell]:
    if isinstance(keys, int):
        if not isinstance(value, list) or len(value) != keys:
            msg = f"{place} is no array of {keys} values, as the first line is"
            raise Failure(msg)
        return [_cell(*pair, place) for pair in zip(model.features, value, strict=True)]
    if not isinstance(value, dict):
        raise _neither(value, place) if not isinstance(value, list) else _mixed(place)
    try:
        found = [value[key] for key in keys]
    except KeyError:
        missing = quoted(key for key in keys if key not in value)
        msg = f"{place} has no key {missing}; write null for a missing value"
        raise Failure(msg) from None
    return [_cell(*pair, place) for pair in zip(model.features, found, strict=True)]


def _cell(feature: Column, value: Any, place: str) -> Cell:
    if feature.lookup is not None:
        if isinstance(value, dict | list):
            msg = f"{place}: {json.dumps(value)} is no value of '{feature.name}', expected text"
            raise Failure(msg)
        return name_of(value)
    if isinstance(value, float | int):
        return float(value)
    if value is None:
        return math.nan
    msg = f"{place}: {json.dumps(value)} is not a number"
    raise Failure(msg)


def _neither(value: Any, place: str) -> Failure:
    return Failure(f"{place} is {json.dumps(value)}, expected an object or an array of values")


def _mixed(place: str) -> Failure:
    return Failure(f"{place} is an array, and the first line is an object")
