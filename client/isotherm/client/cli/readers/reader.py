"""The interface of readers: rows in batches, and nothing kept of what was handed on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol, TypeVar

from isotherm.client.cli.failure import Failure
from isotherm.client.cli.model import Model
from isotherm.client.cli.rows import Batch, Cell, as_rows

_Line = TypeVar("_Line")


class Reader(Protocol):
    """Reads the rows of one source for one model."""

    @property
    def size(self) -> int | None:
        """How much there is to read, in the unit of `Batch.read`; None where nobody knows."""
        ...

    def batches(self, size: int, *, skip: int = 0, first: int | None = None) -> Iterator[Batch]:
        """Yield the rows in their order; those before one that cannot be read come first.

        Args:
            size: Rows a batch; the last one may be smaller.
            skip: Rows at the front that are not wanted.
            first: Rows of the first batch, if it is to have another size.

        Raises:
            Failure: The source does not fit the model, a row is no row, or there are fewer than
                are skipped.
        """
        ...


def batched(
    model: Model,
    records: Iterator[tuple[int, _Line]],
    source: str,
    sizes: tuple[int, int],
    row: Callable[[int, _Line], list[Cell]],
    read: Callable[[], int],
) -> Iterator[Batch]:
    """Yield batches of a text's numbered lines.

    Args:
        model: Its features are what a line has.
        records: The number of each line, and what is on it.
        source: What messages call the text.
        sizes: Rows of the first batch, and of those after it.
        row: Makes the features' cells of a line, or raises Failure.
        read: Tells how much of the text was read so far.
    """
    size, later = sizes
    while True:
        numbers: list[int] = []
        cells: list[list[Cell]] = []
        failure = None
        try:
            for number, line in islice(records, size):
                cells.append(row(number, line))
                numbers.append(number)
        except Failure as bad:
            failure = bad
        if numbers:
            rows, texts = as_rows(model, cells[: len(numbers)])
            yield Batch(rows, source, "line", numbers, read(), texts)
        if failure:
            raise failure
        if len(numbers) < size:
            return
        size = later


def pass_over(records: Iterator[object], count: int, source: str) -> None:
    """Leave out the first records; raise Failure where there are fewer."""
    passed = sum(1 for _ in islice(records, count))
    if passed < count:
        raise too_few(source, passed, count)


def too_few(source: str, rows: int, skipped: int) -> Failure:
    """Return the failure of a source that is shorter than what is to be skipped."""
    return Failure(f"{source} has {rows} rows, and {skipped} are to be skipped")


def by_name(model: Model, names: Sequence[str], source: str, what: str) -> list[int]:
    """Return the position of each feature's name; raise Failure for those that are not there."""
    missing = [feature.name for feature in model.features if feature.name not in names]
    if missing:
        msg = f"{source} has no {what} {quoted(missing)}; its {what}s are {quoted(names)}"
        raise Failure(msg)
    return [names.index(feature.name) for feature in model.features]


def in_order(model: Model, count: int, source: str, what: str) -> list[int]:
    """Return the positions of as many values as the model has features."""
    if count != len(model.features):
        msg = f"{source} has {count} {what}s, model '{model.name}' takes {len(model.features)}"
        raise Failure(msg)
    return list(range(count))


def quoted(names: Iterable[str]) -> str:
    """Return names for a message."""
    return ", ".join(f"'{name}'" for name in names)
