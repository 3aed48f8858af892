"""What the errors of a model version's predictions add up to, target by target.

No row is kept, only sums: those of several workers, and of several servers, add up. They are
float64 in the 64-bit words of a counter block, so they outlive the worker that wrote them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from isotherm.server.layout import (
    FEEDBACK_CENTRES,
    FEEDBACK_DELAY,
    FEEDBACK_NAMES,
    FEEDBACK_SUMS,
    FEEDBACK_TARGETS,
    MAX_TARGETS,
    TARGET_NAME_WORDS,
    ErrorSum,
)

Table = NDArray[np.float64]

MAX_NAME_BYTES: Final = 8 * TARGET_NAME_WORDS


def sums(
    prediction: Table, truth: Table, centres: Table, lower: Table | None, upper: Table | None
) -> Table:
    """Return the ErrorSum columns of rows, of shape (targets, len(ErrorSum)).

    Tables have shape (rows, targets) and are finite, but for the bounds; `centres` has shape
    (targets,). An error is prediction minus truth, a deviation truth minus centre.
    """
    result = np.zeros((len(centres), len(ErrorSum)))
    result[:, ErrorSum.ROWS] = len(truth)
    errors = prediction - truth
    deviations = truth - centres
    for values, positive, negative, squared in (
        (errors, ErrorSum.OVER, ErrorSum.UNDER, ErrorSum.SQUARED),
        (deviations, ErrorSum.ABOVE, ErrorSum.BELOW, ErrorSum.SQUARED_DEVIATION),
    ):
        result[:, positive] = np.maximum(values, 0).sum(axis=0)
        result[:, negative] = np.maximum(-values, 0).sum(axis=0)
        result[:, squared] = (values * values).sum(axis=0)
    if lower is not None and upper is not None:
        result[:, ErrorSum.INTERVAL_ROWS] = len(truth)
        result[:, ErrorSum.COVERED_ROWS] = ((lower <= truth) & (truth <= upper)).sum(axis=0)
    return result


class Residuals:
    """The sums of one model version in one worker, in the words that the version has there."""

    def __init__(self, words: NDArray[np.int64]) -> None:
        self._words = words
        floats = words.view(np.float64)
        self.table: Table = floats[
            FEEDBACK_SUMS : FEEDBACK_SUMS + MAX_TARGETS * len(ErrorSum)
        ].reshape(MAX_TARGETS, len(ErrorSum))
        self._centres: Table = floats[FEEDBACK_CENTRES : FEEDBACK_CENTRES + MAX_TARGETS]
        # Rows that came with the time of their prediction, and the seconds since then.
        self.delay: Table = floats[FEEDBACK_DELAY : FEEDBACK_DELAY + 2]

    @property
    def names(self) -> list[str]:
        """The targets' names; none where no feedback is taken."""
        count = int(self._words[FEEDBACK_TARGETS])
        return [
            self._name(index).tobytes().rstrip(b"\0").decode(errors="replace")
            for index in range(count)
        ]

    def open(self, names: Sequence[str], centres: Sequence[float]) -> None:
        """Take feedback on these targets from now on.

        Sums go on where the targets are those of before; sums of others start at zero. At most
        MAX_TARGETS names of at most MAX_NAME_BYTES bytes.
        """
        count = len(names)
        if self.names == list(names) and np.array_equal(self._centres[:count], centres):
            return
        # No reader takes the names of one set for the sums of another.
        self.close()
        self.table[:] = 0
        self.delay[:] = 0
        self._centres[:count] = centres
        for index, name in enumerate(names):
            data = name.encode().ljust(MAX_NAME_BYTES, b"\0")
            self._name(index)[:] = np.frombuffer(data, np.int64)
        self._words[FEEDBACK_TARGETS] = count

    def close(self) -> None:
        """Take no feedback."""
        self._words[FEEDBACK_TARGETS] = 0

    def add(self, rows: Table, ages_s: Table) -> None:
        """Add what `sums` returned, and how old the predictions are of which that is known."""
        self.table[: len(rows)] += rows
        self.delay += (len(ages_s), ages_s.sum())

    def _name(self, index: int) -> NDArray[np.int64]:
        start = FEEDBACK_NAMES + index * TARGET_NAME_WORDS
        return self._words[start : start + TARGET_NAME_WORDS]


class ResidualTotals:
    """The sums of one model version over all workers."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._table = np.zeros((MAX_TARGETS, len(ErrorSum)))
        self._delay = np.zeros(2)

    def add(self, residuals: Residuals) -> None:
        """Add one worker's sums."""
        names = residuals.names
        if not names:
            return
        self.names = names
        self._table += residuals.table
        self._delay += residuals.delay

    @property
    def table(self) -> Table:
        """The sums, of shape (targets, len(ErrorSum))."""
        return self._table[: len(self.names)]

    @property
    def timed_rows(self) -> float:
        """Rows that came with the time of their prediction."""
        return float(self._delay[0])

    @property
    def delay_s(self) -> float:
        """Seconds from their predictions to their feedback, summed."""
        return float(self._delay[1])
