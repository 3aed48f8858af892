"""Workers of a watch, as far as the watch sees them: blocks, and taps into its rings."""

from __future__ import annotations

from itertools import count

import numpy as np
from numpy.typing import NDArray

from isotherm.server.counters import Block
from isotherm.server.drift import watched
from isotherm.server.drift.report import ColumnReport, Report
from isotherm.server.drift.ring import Writer
from isotherm.server.drift.tap import Tap
from isotherm.server.drift.watch import Watch
from isotherm.server.layout import ModelState, WorkerState
from isotherm.v1.contract_pb2 import Contract

Table = NDArray[np.float32]


class Workers:
    """Some workers, and the watch over them."""

    def __init__(self, number: int = 2, window_s: float = 600.0) -> None:
        self.blocks = [Block.create([]) for _ in range(number)]
        for block in self.blocks:
            block.state = WorkerState.SERVING
        self.watch = Watch(self.blocks, window_s)
        self._numbers = count()

    def load(self, slot: int, contract: Contract, name: str = "m") -> Tap:
        """Load a model in one worker; return its tap."""
        self.blocks[slot].open_model(name, 1).state = ModelState.READY
        ring = self.watch.ring(slot)
        assert ring is not None
        return Tap(
            Writer(ring),
            next(self._numbers),
            watched.reference(name, 1, contract),
            0,
            watched.prediction_columns(contract),
        )

    def report(self) -> Report:
        """Return what is known of the only model."""
        (found,) = self.watch.reports()
        return found


def columns(report: Report) -> dict[str, ColumnReport]:
    """Return a report's columns by their names."""
    return {column.column.name: column for column in report.columns}


def drifted(report: Report) -> list[str]:
    """Return the names of the columns that have drifted."""
    return [column.column.name for column in report.columns if column.drifted]
