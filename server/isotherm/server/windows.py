"""What cumulative totals grew by over a sliding window of time."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

Totals = NDArray[Any]


class Window:
    """A sliding window over totals that only grow.

    A snapshot is kept each `span_s / slices` seconds, so that what is returned spans `span_s` and
    at most a slice more (longer only where nobody added for longer). All times are seconds of one
    monotonic clock.
    """

    def __init__(self, span_s: float, slices: int = 12) -> None:
        if span_s <= 0 or slices < 1:
            msg = (
                f"a window spans a positive time in at least one slice, not {span_s} s in {slices}"
            )
            raise ValueError(msg)
        self._span_s = span_s
        self._slice_s = span_s / slices
        # Oldest first. The first one is the window's beginning once it is old enough for that.
        self._snapshots: deque[tuple[float, Totals]] = deque()

    def add(self, now_s: float, totals: Totals) -> Totals:
        """Take the totals of now; return what they grew by since the window's beginning.

        All calls take arrays of one shape; the array may be changed afterwards. While the window is
        younger than its span, everything since the start is in it.
        """
        snapshots = self._snapshots
        if not snapshots or now_s - snapshots[-1][0] >= self._slice_s:
            snapshots.append((now_s, totals.copy()))
        begin_s = now_s - self._span_s
        while len(snapshots) > 1 and snapshots[1][0] <= begin_s:
            snapshots.popleft()
        taken_s, beginning = snapshots[0]
        grown: Totals = totals - (beginning if taken_s <= begin_s else np.zeros_like(totals))
        return grown
