"""Statistics of a column, mergeable: what of it can be known from one pass over all rows."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isotherm.trainer.columns import Floats
from isotherm.trainer.errors import DataError
from isotherm.v1.categories import name_of

# A column with more values than so many is text or a key, not a category.
MOST_VALUES: Final = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Moments:
    """What is known of the numbers of one column; two can be merged, in this order.

    Attributes:
        count: rows with a number.
        missing: rows without.
        weight: of the rows with a number, in sum; their count unless rows count differently.
        squares: weighted sum of squared differences from the mean.
        minimum: infinite without any number.
        maximum: likewise.
    """

    count: int = 0
    missing: int = 0
    weight: float = 0.0
    mean: float = 0.0
    squares: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf

    @classmethod
    def of(cls, values: NDArray[Any], weights: Floats | None = None) -> Moments:
        """Measure numbers of shape (rows,), NaN where one is missing."""
        present = ~np.isnan(values)
        found = values[present].astype(np.float64)
        missing = len(values) - len(found)
        if not len(found):
            return cls(missing=missing)
        # Summed, not multiplied as vectors: BLAS would call in its threads for so little.
        if weights is None:
            weight = float(len(found))
            mean = float(found.sum()) / weight
            squares = float(np.square(found - mean).sum())
        else:
            each = weights[present]
            weight = float(each.sum())
            mean = float((each * found).sum()) / weight if weight else 0.0
            squares = float((each * np.square(found - mean)).sum())
        return cls(
            count=len(found),
            missing=missing,
            weight=weight,
            mean=mean,
            squares=squares,
            minimum=float(found.min()),
            maximum=float(found.max()),
        )

    @property
    def deviation(self) -> float:
        """The standard deviation, 0 where all numbers are the same."""
        if self.minimum >= self.maximum:
            return 0.0
        return math.sqrt(self.squares / self.weight) if self.weight else 0.0

    @property
    def counts(self) -> NDArray[np.int64]:
        """Numbers have no categories to count."""
        return np.zeros(0, dtype=np.int64)

    def merge(self, other: Moments) -> Moments:
        """Return the moments of the rows of both."""
        if not self.count:
            return replace(other, missing=self.missing + other.missing)
        weight = self.weight + other.weight
        # Rows that all count nothing move nothing.
        share = other.weight / weight if weight else 0.0
        apart = other.mean - self.mean
        # Sums of squares would lose the deviation of a column that lies far from zero.
        return Moments(
            count=self.count + other.count,
            missing=self.missing + other.missing,
            weight=weight,
            mean=self.mean + apart * share,
            squares=self.squares + other.squares + apart * apart * (self.weight * share),
            minimum=min(self.minimum, other.minimum),
            maximum=max(self.maximum, other.maximum),
        )


class Counts:
    """How many rows each value of a column has; exact, and bounded by an error."""

    def __init__(self, where: str) -> None:
        """Take the column, as an error begins."""
        self._where = where
        self.values: Counter[Any] = Counter()
        self.missing = 0

    def add(self, cells: Any) -> None:
        """Count the cells of a slice."""
        if pa.types.is_dictionary(cells.type):
            cells = cells.cast(cells.type.value_type)
        for entry in cells.value_counts():
            value, rows = entry["values"].as_py(), entry["counts"].as_py()
            if name_of(value) is None:
                self.missing += rows
            else:
                self.values[value] += rows
        self._check()

    def merge(self, values: Counter[Any], missing: int) -> None:
        """Add the rows that another process has counted."""
        self.values.update(values)
        self.missing += missing
        self._check()

    def names(self) -> Counter[str]:
        """Return the rows of each name; values of one name, such as 3 and 3.0, are one."""
        names: Counter[str] = Counter()
        for value, rows in self.values.items():
            names[str(name_of(value))] += rows
        return names

    def _check(self) -> None:
        if len(self.values) > MOST_VALUES:
            first, second = list(self.values)[:2]
            msg = (
                f"{self._where} has more than {MOST_VALUES} different values, such as {first!r} "
                f"and {second!r}: a key or free text, of which nothing can be learned; leave it "
                "out, or write broader values into the file"
            )
            raise DataError(msg)
