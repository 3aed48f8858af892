"""Callers of one row each, for a stretch of time: one alone, many threads, many tasks.

Each caller asks a question of its own and looks at every answer: a fast wrong answer, or another
caller's, is worth nothing.
"""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.bench.clients.calls import Awaiting, Blocking

# So many callers have values of their own that the model's contract allows.
MOST_CALLERS = 64


@dataclass(frozen=True, slots=True)
class Seen:
    """What a stretch showed; the latency is a caller's, from question to array."""

    predictions: int
    seconds: float
    # Of the client's process, all its threads.
    cpu_s: float
    p50_us: float
    p99_us: float

    @property
    def per_second(self) -> float:
        """Predictions a second."""
        return self.predictions / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU of the client's process for a prediction."""
        return self.cpu_s / self.predictions * 1e6


def blocking(call: Blocking, callers: int, seconds: float) -> Seen:
    """Call for so long from so many threads; from this one if that is one."""
    watch = _Watch(seconds)
    if callers == 1:
        _call(call, 0, watch)
        return watch.seen()
    failures: list[BaseException] = []

    def work(caller: int) -> None:
        try:
            _call(call, caller, watch)
        except BaseException as error:  # noqa: BLE001  raised again below, in the thread that reports
            failures.append(error)

    threads = [threading.Thread(target=work, args=(caller,)) for caller in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return watch.seen()


def _call(call: Blocking, caller: int, watch: _Watch) -> None:
    x, expected = _question(caller)
    clock, taken, until = time.perf_counter, watch.taken, watch.until
    begin = clock()
    while begin < until:
        answer = call(x)
        end = clock()
        taken.append(end - begin)
        if answer.item() != expected:
            raise _wrong(answer, expected, caller)
        begin = end


async def awaiting(call: Awaiting, callers: int, seconds: float) -> Seen:
    """Call for so long from so many tasks."""
    watch = _Watch(seconds)
    await asyncio.gather(*(_await(call, caller, watch) for caller in range(callers)))
    return watch.seen()


async def _await(call: Awaiting, caller: int, watch: _Watch) -> None:
    x, expected = _question(caller)
    clock, taken, until = time.perf_counter, watch.taken, watch.until
    begin = clock()
    while begin < until:
        answer = await call(x)
        end = clock()
        taken.append(end - begin)
        if answer.item() != expected:
            raise _wrong(answer, expected, caller)
        begin = end


class _Watch:
    """Wall clock and CPU from now on, and the seconds that each call took."""

    def __init__(self, seconds: float) -> None:
        self.taken: list[float] = []
        self._cpu_s = time.process_time()
        self._begin = time.perf_counter()
        self.until = self._begin + seconds

    def seen(self) -> Seen:
        """Return what there was up to now."""
        seconds = time.perf_counter() - self._begin
        cpu_s = time.process_time() - self._cpu_s
        p50, p99 = np.percentile(self.taken, (50, 99)) * 1e6
        return Seen(len(self.taken), seconds, cpu_s, float(p50), float(p99))


def _question(caller: int) -> tuple[np.ndarray, float]:
    value = caller % MOST_CALLERS / 8
    return np.array([[value]], np.float32), 2 * value


def _wrong(answer: Any, expected: float, caller: int) -> SystemExit:
    return SystemExit(f"caller {caller} should have been answered {expected}, got {answer}")
