"""Runs contenders in turn and times each of their runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

import numpy as np

from tests.bench.gpus.bare import Array, Prepare
from tests.bench.gpus.figures import Looped

# A run that takes longer is not repeated.
LONG_S = 0.5
# The first of them captures what a graph replays, and compiles what is compiled.
WARM_UPS = 4


class Contender:
    """One loop on one batch: warmed up, its answers compared."""

    def __init__(self, prepare: Prepare, x: Array, expected: Array | None) -> None:
        self.rows = len(x)
        self._run = prepare(x)
        self._taken_s: list[float] = []
        self._paces: list[float] = []
        for number in range(WARM_UPS):
            begin = time.perf_counter()
            self.answer = self._run().copy()
            self._first_s = time.perf_counter() - begin
            # The first compiles, where something is compiled.
            if number and self._first_s > LONG_S:
                break
        self.difference = 0.0 if expected is None else _difference(self.answer, expected)

    def turn(self, seconds: float) -> None:
        """Run for so long, and once at least unless one run is long."""
        if self._first_s > LONG_S:
            if not self._paces:
                self._taken_s.append(self._first_s)
                self._paces.append(self.rows / self._first_s)
            return
        begin = now = time.perf_counter()
        count = 0
        while now - begin < seconds or not count:
            self._run()
            count += 1
            before, now = now, time.perf_counter()
            self._taken_s.append(now - before)
        self._paces.append(self.rows * count / (now - begin))

    def figures(self) -> Looped:
        """Return what all turns showed."""
        return Looped(
            rows_per_s=median(self._paces),
            run_ms=median(self._taken_s) * 1e3,
            p99_ms=float(np.percentile(self._taken_s, 99)) * 1e3,
            difference=self.difference,
        )


def contenders(
    loops: Mapping[str, Prepare], x: Array, failed: Callable[[str], None]
) -> dict[str, Contender]:
    """Warm every loop up on the rows; one that fails is told of and left out."""
    found: dict[str, Contender] = {}
    expected: Array | None = None
    for name, prepare in loops.items():
        try:
            found[name] = Contender(prepare, x, expected)
        except Exception as error:  # noqa: BLE001  the others are worth their figures
            reason = str(error).strip().splitlines() or [type(error).__name__]
            failed(f"{name} at {len(x)} rows: {reason[0][:300]}")
            continue
        if expected is None:
            expected = found[name].answer
    return found


def _difference(answer: Array, expected: Array) -> float:
    if answer.shape != expected.shape:
        return float("inf")
    return float(np.abs(answer - expected).max() / max(1e-9, float(np.abs(expected).max())))
