"""Where a model runs, by the rows of its batches, and what they cost there."""

from __future__ import annotations

import math
from concurrent.futures import Future, wait
from dataclasses import dataclass, field

from isotherm.server.costs import UNKNOWN_COST, Cost, Times
from isotherm.server.device.lane import Lane
from isotherm.server.session import Session

# What the log says a model's batches take, of so many rows.
_TYPICAL_ROWS = 64


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Placement:
    """Where the batches of one model run, by their rows, and what they cost there."""

    # "cuda" where a device runs some of them, else "cpu".
    provider: str
    # The CPU's, unless all batches run on the device: then its lanes' first.
    session: Session
    host: Cost | Times = UNKNOWN_COST
    lanes: tuple[Lane, ...] = ()
    device: Times | None = None
    device_number: int = 0
    # Where there was a device: batches of so many rows and more run on it; 0 if none do.
    break_even_rows: int | None = None
    # What is less than was asked for, and why.
    notes: tuple[str, ...] = ()
    # Whether a device was to be used and could not be.
    fell_back: bool = False
    # What the model takes of the device's memory.
    memory_bytes: int = 0
    _inline_below_rows: float = field(init=False, default=0.0)
    _device_from_rows: float = field(init=False, default=math.inf)

    def __post_init__(self) -> None:
        """Find out once what is asked of every batch."""
        from_rows = self.break_even_rows if self.lanes else None
        device_from_rows = math.inf if from_rows is None else 0.0 if from_rows <= 1 else from_rows
        inline_below_rows = min(self.host.inline_below_rows, device_from_rows)
        object.__setattr__(self, "_device_from_rows", device_from_rows)
        object.__setattr__(self, "_inline_below_rows", inline_below_rows)

    def inline(self, rows: int) -> bool:
        """Tell whether a batch is cheaper to run at once than to hand over."""
        return rows < self._inline_below_rows

    def on_device(self, rows: int) -> bool:
        """Tell whether a batch of so many rows belongs on a lane."""
        return rows >= self._device_from_rows

    def seconds(self, rows: int) -> float:
        """Return what a batch of so many rows takes where it runs; infinity where nobody knows."""
        if self.on_device(rows):
            return math.inf if self.device is None else self.device.seconds(rows)
        return self.host.seconds(rows)

    @property
    def known(self) -> bool:
        """Whether the model could be timed at all."""
        return math.isfinite(self.seconds(1))

    @property
    def graph_sizes(self) -> int:
        """How many batch sizes replay a graph, on the lane that has the fewest."""
        return min((len(lane.graph_rows) for lane in self.lanes), default=0)

    def __str__(self) -> str:
        """Return it in words, for the log."""
        if not self.known:
            return "nobody knows what a batch takes"
        typical_us = self.seconds(_TYPICAL_ROWS) * 1e6
        took = f"a batch of {_TYPICAL_ROWS} rows takes about {typical_us:.0f} us"
        if self.lanes and (self.break_even_rows or 0) > 1:
            return f"{took}, and from {self.break_even_rows} rows on batches run on the device"
        if self.break_even_rows == 0:
            return f"{took}, and none runs on the device: {'; '.join(self.notes)}"
        return took

    def close(self) -> list[Future[None]]:
        """Let the device go, without waiting: the lanes free what they hold on their own threads.

        Nothing may be running there any more.
        """
        return [lane.close() for lane in self.lanes]


def close_now(lanes: tuple[Lane, ...] | list[Lane]) -> None:
    """Close lanes that serve nobody yet, and wait until their memory is free."""
    wait([lane.close() for lane in lanes])
