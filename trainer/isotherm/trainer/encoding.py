"""The encoding: what a network sees of a row, in numpy; `features` has the same in the graph.

In the raw table stands a number as it is, NaN where it is missing; of a category its code, the
index in `Column.categories`. Any other number, such as -1, is the unknown value, and so is NaN.

The network's input is made of four blocks, in this order:

* each number, standardised; a missing one is 0, the mean;
* for each number with an indicator, whether it is missing, less the share that is;
* for each one-hot category, a column a value (and one for the unknown value if the training rows
  had any), less its share. Not divided by its deviation: that would blow rare values up, which the
  penalty is to hold back;
* for each embedded category its code, the unknown value's being the number of categories.
  `embeddings.Embeddings`, the network's first layer, puts vectors in the place of these.

What the measured rows never had is the unknown value, and where they never had that either, it is
the mean of the others: such a row answers as an average row would.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from isotherm.trainer.data import Column, Floats
from isotherm.trainer.scaling import Scaling

# Of a column that has no number at all.
_NONE: Final = Scaling(mean=np.zeros(1), scale=np.ones(1))


class Statistics(Protocol):
    """What there is to know of one column of the raw table.

    Attributes:
        count: rows with a number; of a category unused, like `mean` and `deviation`.
        missing: rows without.
        mean: of the numbers.
        deviation: of the numbers, 0 where all are the same.
        counts: rows of each code, and last those of the unknown value, missing ones included;
            empty for a number.
    """

    @property
    def count(self) -> int: ...  # noqa: D102
    @property
    def missing(self) -> int: ...  # noqa: D102
    @property
    def mean(self) -> float: ...  # noqa: D102
    @property
    def deviation(self) -> float: ...  # noqa: D102
    @property
    def counts(self) -> NDArray[np.int64]: ...  # noqa: D102


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Encoding:
    """How rows are encoded. N is numbers, K the categories of a column.

    Attributes:
        columns: of the raw table.
        numbers: of the N numbers, over the rows that have each.
        missing: shape (N,), the share of rows where each is missing.
        shares: of each category in the order of columns, shape (K + 1,): the share of rows that
            have each code, and last the unknown value's.
    """

    columns: tuple[Column, ...]
    numbers: Scaling
    missing: Floats
    shares: tuple[Floats, ...] = ()

    @classmethod
    def of(cls, x: Floats, columns: Sequence[Column], weights: Floats | None = None) -> Encoding:
        """Measure raw rows `x` (rows, features), each as often as it counts, or once."""
        numbers = _numbers(x, columns)
        absent = np.isnan(numbers)
        # numpy takes no average of no columns.
        scaling = Scaling.of(numbers, weights) if numbers.size else _of_none()
        for index in np.flatnonzero(absent.any(axis=0)):
            present = ~absent[:, index]
            found = None if weights is None else weights[present]
            one = Scaling.of(numbers[present, index : index + 1], found) if present.any() else _NONE
            scaling.mean[index], scaling.scale[index] = one.mean[0], one.scale[0]
        return cls(
            columns=tuple(columns),
            numbers=scaling,
            missing=np.average(absent, axis=0, weights=weights) if numbers.size else np.zeros(0),
            shares=tuple(
                _shares(np.bincount(index, weights, minlength=len(column.categories) + 1))
                for index, column in zip(_indices(x, columns), categories(columns), strict=True)
            ),
        )

    @classmethod
    def of_statistics(cls, columns: Sequence[Column], statistics: Sequence[Statistics]) -> Encoding:
        """Take what was measured elsewhere: one of `statistics` a column."""
        pairs = [*zip(columns, statistics, strict=True)]
        numbers = [one for column, one in pairs if not column.categories]
        scale = [one.deviation or 1.0 for one in numbers]
        missing = [one.missing / max(one.missing + one.count, 1) for one in numbers]
        return cls(
            columns=tuple(columns),
            numbers=Scaling(
                mean=np.array([one.mean for one in numbers], dtype=np.float64),
                scale=np.array(scale, dtype=np.float64),
            ),
            missing=np.array(missing, dtype=np.float64),
            shares=tuple(_shares(one.counts) for column, one in pairs if column.categories),
        )

    @classmethod
    def of_scaling(cls, scaling: Scaling) -> Encoding:
        """Take numbers alone, whose names do not matter."""
        count = len(scaling.mean)
        columns = (Column(name="", unit="", datatype=""),) * count
        return cls(columns=columns, numbers=scaling, missing=np.zeros(count))

    @property
    def width(self) -> int:
        """The numbers of an encoded row."""
        return width(self.columns)

    @property
    def values(self) -> int:
        """The numbers, their indicators, and the values of all categories: a line's weights."""
        return plain_width(self.columns) + sum(
            len(column.categories) + column.unknown for column in categories(self.columns)
        )

    @property
    def embedded_shares(self) -> tuple[Floats, ...]:
        """Of `shares`, those of the embedded categories."""
        pairs = zip(categories(self.columns), self.shares, strict=True)
        return tuple(shares for column, shares in pairs if column.embedding)

    def encode(self, x: Floats) -> Floats:
        """Map raw rows (rows, features) to what the network sees, shape (rows, width)."""
        plain, indices = self.parts(x)
        if not indices:
            return plain
        found = [*zip(categories(self.columns), self.tables(), indices, strict=True)]
        hot = [table[index] for column, table, index in found if not column.embedding]
        codes = [table[index] for column, table, index in found if column.embedding]
        return np.concatenate([plain, *hot, *codes], axis=1)

    def parts(self, x: Floats) -> tuple[Floats, list[NDArray[np.int64]]]:
        """Return the numbers with their indicators, (rows, plain), and each category's index.

        The index of a value that the measured rows never had is the unknown value's.
        """
        numbers = _numbers(x, self.columns)
        plain = self.numbers.standardise(numbers)
        takes, indicated = flags(self.columns)
        if takes.any():
            absent = np.isnan(numbers)
            plain[absent & takes] = 0.0
            # Where no row was missing, nothing was learned that an indicator could call.
            seen = self.missing[indicated] > 0
            told = (absent[:, indicated] - self.missing[indicated]) * seen
            plain = np.concatenate([plain, told], axis=1)
        found = zip(self.seen(), _indices(x, self.columns), strict=True)
        return plain, [seen[index] for seen, index in found]

    def seen(self) -> list[NDArray[np.int64]]:
        """Return for each category the index of each code, (K + 1,): its own, if any row had it."""
        return [np.where(each > 0, np.arange(len(each)), len(each) - 1) for each in self.shares]

    def tables(self) -> Iterator[Floats]:
        """Yield what stands for each index of each category, shape (K + 1, columns)."""
        for column, shares, seen in zip(
            categories(self.columns), self.shares, self.seen(), strict=True
        ):
            size = len(column.categories)
            if column.embedding:
                yield seen[:, np.newaxis].astype(np.float64)
                continue
            values = size + column.unknown
            rows = np.eye(size + 1, values) - shares[:values]
            if not shares[size]:
                rows[size] = 0.0
            yield rows[seen]


def width(columns: Sequence[Column]) -> int:
    """Return the numbers of an encoded row."""
    return plain_width(columns) + sum(
        1 if column.embedding else len(column.categories) + column.unknown
        for column in categories(columns)
    )


def plain_width(columns: Sequence[Column]) -> int:
    """Return how many numbers of an encoded row are the table's, with their indicators."""
    takes, indicated = flags(columns)
    return len(takes) + len(indicated)


def names(columns: Sequence[Column]) -> Iterator[str]:
    """Name each number that the layers of a network see, embeddings in the place of codes."""
    numbers = [column for column in columns if not column.categories]
    yield from (column.name for column in numbers)
    yield from (f"{one.name} is missing" for one in numbers if one.missing == "indicator")
    for column in categories(columns):
        if not column.embedding:
            yield from (f"{column.name}={value}" for value in column.categories)
            yield from [f"{column.name} unknown"] * column.unknown
    for column in categories(columns):
        yield from (f"{column.name}[{index}]" for index in range(column.embedding))


def flags(columns: Sequence[Column]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which numbers may be missing, shape (N,), and the places of those with indicators."""
    policies = [column.missing for column in columns if not column.categories]
    indicated = [index for index, policy in enumerate(policies) if policy == "indicator"]
    takes = np.array([policy != "refuse" for policy in policies], dtype=np.bool_)
    return takes, np.array(indicated, dtype=np.int64)


def categories(columns: Sequence[Column]) -> list[Column]:
    """Return those of the columns that are categories."""
    return [column for column in columns if column.categories]


def _of_none() -> Scaling:
    return Scaling(mean=np.zeros(0), scale=np.ones(0))


def _shares(counts: NDArray[Any]) -> Floats:
    return np.asarray(counts / counts.sum(), dtype=np.float64)


def _numbers(x: Floats, columns: Sequence[Column]) -> Floats:
    chosen = [index for index, column in enumerate(columns) if not column.categories]
    return x if len(chosen) == len(columns) else x[:, chosen]


def _indices(x: Floats, columns: Sequence[Column]) -> Iterator[NDArray[np.int64]]:
    """Yield each category's index: its code, or the number of categories for what is no code."""
    for values, column in zip(x.T, columns, strict=True):
        size = len(column.categories)
        if size:
            known = (values >= 0) & (values < size) & (values == np.floor(values))
            yield np.where(known, values, size).astype(np.int64)
