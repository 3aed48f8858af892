"""Sample: some rows of many, drawn by numbers that depend on nothing but where a row stands."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Priorities = NDArray[np.uint64]

_STEP: Final = np.uint64(0x9E3779B97F4A7C15)


def priorities(rows: NDArray[np.uint64], seed: int, purpose: int = 0) -> Priorities:
    """Return a random 64-bit number for each row, by its number in the whole table.

    The same row has the same number in every pass and every process. Different purposes have
    numbers that know nothing of each other.
    """
    start = (seed * 4 + purpose + 1) * int(_STEP) % 2**64
    # The finaliser of splitmix64: every bit of a row's number changes half of the bits.
    mixed = rows * _STEP + np.uint64(start)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def below(share: float) -> np.uint64:
    """Return the number that a `share` of all priorities lies below."""
    return np.uint64(min(int(share * 2**64), 2**64 - 1))


class Sample:
    """The rows with the smallest priorities, at most `size`: which, no order of reading changes."""

    def __init__(self, size: int, width: int, kind: type[Any] = np.float32) -> None:
        self.size, self.width = size, width
        self._rows: list[NDArray[Any]] = [np.empty((0, width), dtype=kind)]
        self._priorities: list[Priorities] = [np.empty(0, dtype=np.uint64)]
        self._held = 0
        self._limit = np.uint64(2**64 - 1)

    def offer(self, numbers: Priorities, rows: NDArray[Any]) -> None:
        """Take those of `rows` (rows, width) in whose priorities `numbers` (rows,) are small."""
        chosen = numbers < self._limit
        if not chosen.any():
            return
        self._rows.append(rows[chosen])
        self._priorities.append(numbers[chosen])
        self._held += len(self._rows[-1])
        if self._held > 2 * self.size:
            self._shrink()

    def held(self) -> tuple[Priorities, NDArray[Any]]:
        """Return the priorities, in ascending order, and the rows of the sample."""
        self._shrink()
        return self._priorities[0], self._rows[0]

    def _shrink(self) -> None:
        numbers, rows = np.concatenate(self._priorities), np.concatenate(self._rows)
        order = np.argsort(numbers, kind="stable")[: self.size]
        self._priorities, self._rows = [numbers[order]], [rows[order]]
        self._held = len(order)
        if self._held == self.size:
            # One more than the largest: its own row is not offered again.
            self._limit = self._priorities[0][-1]
