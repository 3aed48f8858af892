"""Rows that predictions are asked for, and where each of them comes from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isotherm.client.cli.failure import Failure
from isotherm.client.cli.model import Model

# Of shape (rows, features); NaN is a missing value.
Rows = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that are asked for together.

    Attributes:
        rows: Of shape (rows, features).
        places: Where each row comes from, for a message: `numbers` of lines or rows of `source`.
        read: How much of the source was read with them, in the unit of its reader's size.
    """

    rows: Rows
    source: str
    unit: str
    numbers: Sequence[int]
    read: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    def place(self, index: int) -> str:
        """Return where a row comes from."""
        return f"{self.source}, {self.unit} {self.numbers[index]}"

    def part(self, start: int, stop: int) -> Batch:
        """Return some of the rows."""
        numbers = self.numbers[start:stop]
        return Batch(self.rows[start:stop], self.source, self.unit, numbers, self.read)


def from_values(model: Model, values: Sequence[str]) -> Batch:
    """Return one row a value for a model with one feature, else one row of all values."""
    numbers = [number(value, "the command line") for value in values]
    width = len(model.features)
    if width > 1 and len(numbers) != width:
        names = ", ".join(feature.name for feature in model.features)
        msg = f"model '{model.name}' takes {width} values a row ({names}), got {len(numbers)}"
        raise Failure(msg)
    rows = np.array(numbers).reshape(-1, width)
    return Batch(rows, "the command line", "row", range(1, len(rows) + 1))


def number(text: str, place: str) -> float:
    """Return a cell's number; an empty one is a missing value."""
    # Whether the model takes one is for the server to say.
    if not text.strip():
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
        self._examples = [math.nan] * len(model.features)

    def add(self, rows: Rows) -> None:
        """Look at rows of shape (rows, features)."""
        self._rows += len(rows)
        for index, (feature, values) in enumerate(zip(self._features, rows.T, strict=True)):
            outside = values[(values < feature.minimum) | (values > feature.maximum)]
            if outside.size:
                if not self._outside[index]:
                    self._examples[index] = outside[0]
                self._outside[index] += outside.size

    def notes(self) -> Iterator[str]:
        """Yield a note for each feature that had such values."""
        for feature, count, example in zip(
            self._features, self._outside, self._examples, strict=True
        ):
            if count:
                unit = f" {feature.unit}" if feature.unit else ""
                yield (
                    f"{count} of {self._rows} values of '{feature.name}' lie outside the "
                    f"training range {feature.minimum:g} to {feature.maximum:g}{unit}, "
                    f"such as {example:g}: the model extrapolates"
                )
