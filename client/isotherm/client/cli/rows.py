"""Rows that predictions are asked for, and where each of them comes from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isotherm.client import _category
from isotherm.client.cli.failure import Failure
from isotherm.client.cli.model import Column, Model
from isotherm.v1.categories import NULLS, name_of

# Of shape (rows, features); NaN is a missing value, and a category's number is its code.
Rows = NDArray[np.float64]
# What was read of a category, column by column, by the feature's position; None is a missing value.
Texts = Mapping[int, Sequence[str | None]]
# What was read of a number, or of a category.
Cell = float | str | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that are asked for together.

    Attributes:
        rows: Of shape (rows, features).
        places: Where each row comes from, for a message: `numbers` of lines or rows of `source`.
        read: How much of the source was read with them, in the unit of its reader's size.
        texts: What stands in the source where `rows` has codes.
    """

    rows: Rows
    source: str
    unit: str
    numbers: Sequence[int]
    read: int = 0
    texts: Texts = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def place(self, index: int) -> str:
        """Return where a row comes from."""
        return f"{self.source}, {self.unit} {self.numbers[index]}"

    def part(self, start: int, stop: int) -> Batch:
        """Return some of the rows."""
        numbers = self.numbers[start:stop]
        texts = {index: texts[start:stop] for index, texts in self.texts.items()}
        return Batch(self.rows[start:stop], self.source, self.unit, numbers, self.read, texts)


def from_values(model: Model, values: Sequence[str]) -> Batch:
    """Return one row a value for a model with one feature, else one row of all values.

    Values may be named, as in `city=Oslo`: then all of them are, in any order.
    """
    place, width = "the command line", len(model.features)
    names = [feature.name for feature in model.features]
    if any(value.partition("=")[0] in names for value in values if "=" in value):
        values = _in_order(model, names, values)
    if len(values) % width or (width > 1 and len(values) != width):
        listed = ", ".join(names)
        msg = f"model '{model.name}' takes {width} values a row ({listed}), got {len(values)}"
        raise Failure(msg)
    cells = [
        [cell(feature, text, place) for feature, text in zip(model.features, row, strict=True)]
        for row in zip(*[iter(values)] * width, strict=True)
    ]
    rows, texts = as_rows(model, cells)
    return Batch(rows, place, "row", range(1, len(rows) + 1), texts=texts)


def _in_order(model: Model, names: Sequence[str], values: Sequence[str]) -> Sequence[str]:
    """Return named values in the features' order."""
    pairs = [value.partition("=") for value in values]
    given = [name for name, _, _ in pairs]
    wrong = [value for value, name in zip(values, given, strict=True) if name not in names]
    listed = ", ".join(names)
    if wrong:
        msg = f"'{wrong[0]}' is no NAME=VALUE of a feature of model '{model.name}': {listed}"
        raise Failure(msg)
    if len(names) == 1:
        return [value for _, _, value in pairs]
    twice = [name for name in names if given.count(name) > 1]
    if twice:
        msg = (
            f"'{twice[0]}' has {given.count(twice[0])} values; of several features one row is taken"
        )
        raise Failure(msg)
    missing = [name for name in names if name not in given]
    if missing:
        msg = f"no value of '{missing[0]}': add {missing[0]}=VALUE; {missing[0]}= is a missing one"
        raise Failure(msg)
    by_name = {name: value for name, _, value in pairs}
    return [by_name[name] for name in names]


def as_rows(model: Model, cells: Sequence[Sequence[Cell]]) -> tuple[Rows, Texts]:
    """Return what was read as numbers, and the texts of the categories among them."""
    categories = model.categories
    if not categories:
        return np.array(cells, np.float64).reshape(-1, len(model.features)), {}
    columns: list[Sequence[Any]] = list(zip(*cells, strict=True))
    texts: dict[int, Sequence[str | None]] = {index: columns[index] for index in categories}
    return np.column_stack(
        [_numbers(*pair) for pair in zip(model.features, columns, strict=True)]
    ), texts


def _numbers(feature: Column, cells: Sequence[Any]) -> NDArray[np.float64]:
    if feature.lookup is None:
        return np.array(cells, np.float64)
    return np.asarray(_category.read(feature.name, cells, feature.lookup), np.float64)


def cell(feature: Column, text: str, place: str) -> Cell:
    """Return a cell's number, or where the feature is a category its text; None if it is blank."""
    return number(text, place) if feature.lookup is None else name_of(text)


def number(text: str, place: str) -> float:
    """Return a cell's number; an empty one is a missing value, and so is one of `NULLS`."""
    # Whether the model takes one is for the server to say.
    if not text.strip() or text.strip() in NULLS:
        return math.nan
    try:
        return float(text)
    except ValueError as error:
        msg = f"{place}: '{text}' is not a number"
        raise Failure(msg) from error


class Ranges:
    """How many values lay beyond those that the model was trained on, over all batches."""

    def __init__(self, model: Model) -> None:
        self._features = model.features
        self._rows = 0
        self._outside = [0] * len(model.features)
        self._examples: list[Cell] = [math.nan] * len(model.features)

    def add(self, batch: Batch) -> None:
        """Look at a batch."""
        self._rows += len(batch)
        for index, (feature, values) in enumerate(zip(self._features, batch.rows.T, strict=True)):
            if feature.lookup is not None:
                outside = np.flatnonzero(values == _category.UNKNOWN)
            else:
                outside = np.flatnonzero((values < feature.minimum) | (values > feature.maximum))
            if outside.size:
                if not self._outside[index]:
                    texts = batch.texts.get(index)
                    first = int(outside[0])
                    self._examples[index] = values[first] if texts is None else texts[first]
                self._outside[index] += outside.size

    def notes(self) -> Iterator[str]:
        """Yield a note for each feature that had such values."""
        for feature, count, example in zip(
            self._features, self._outside, self._examples, strict=True
        ):
            if not count:
                continue
            counted = f"{count} of {self._rows} values of '{feature.name}'"
            if feature.lookup is not None:
                yield (
                    f"{counted} are not among its {len(feature.lookup)} of the training, such as "
                    f"'{example}': the model takes them as unknown"
                )
                continue
            unit = f" {feature.unit}" if feature.unit else ""
            yield (
                f"{counted} lie outside the training range {feature.minimum:g} to "
                f"{feature.maximum:g}{unit}, such as {example:g}: the model extrapolates"
            )
