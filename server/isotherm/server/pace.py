"""Pace: how long a model takes, foretold from its measurement at load and its last runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

# Of the newest run in what is believed of the next.
_WEIGHT: Final = 0.2
# A run that takes longer than foretold by so many usual errors is rare.
_ERRORS: Final = 3


class Pace:
    """Foretells the time of runs.

    The measurement at load says how time grows with rows; how far it is off, on this machine and
    beside this load, the runs say, and also how much that varies.
    """

    def __init__(self, measured: Callable[[int], float] | None, max_rows: int) -> None:
        """`measured` gives the seconds of a run of so many rows, if anybody knows."""
        self._measured = measured
        self._max_rows = max_rows
        # What a run really took, in terms of what was measured; without that, in seconds.
        self._factor: float | None = None if measured is None else 1.0
        self._usual_error = 0.0
        self._runs = 0

    def ran(self, rows: int, seconds: float) -> None:
        """Take note of what rows took, in as many runs as they needed."""
        found = seconds / self._expected(rows)
        if self._factor is None or not self._runs:
            self._factor = found
        else:
            error = found - self._factor
            self._usual_error += _WEIGHT * (abs(error) - self._usual_error)
            self._factor += _WEIGHT * error
        self._runs += 1

    def seconds(self, rows: int) -> float:
        """Return what rows will take; 0 while nobody knows."""
        return self._expected(rows) * (self._factor or 0.0) if rows else 0.0

    def surely_s(self, rows: int) -> float:
        """Return what rows will seldom take longer than; 0 while nobody knows."""
        if not rows:
            return 0.0
        return self._expected(rows) * ((self._factor or 0.0) + _ERRORS * self._usual_error)

    def _expected(self, rows: int) -> float:
        full, rest = divmod(rows, self._max_rows)
        if self._measured is None:
            return full + math.ceil(rest / self._max_rows)
        return full * self._measured(self._max_rows) + (self._measured(rest) if rest else 0.0)
