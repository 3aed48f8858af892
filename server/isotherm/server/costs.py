"""What batches of a model cost, as measured at load, by how many rows they have."""

from __future__ import annotations

import bisect
import itertools
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Final, Protocol

import numpy as np

from isotherm.server.device.buckets import buckets
from isotherm.server.session import Array, Session, TensorSpec, reason
from isotherm.v1.tensors import DTYPES

_log = logging.getLogger(__name__)

# Handing a batch to another thread and back costs about as much.
INLINE_BELOW_S: Final = 200e-6
_MEASURED_ROWS: Final = 64
_RUNS: Final = 5
# Runs of a size on two places are to be compared in so long; two of them at least.
_LONG_S: Final = 0.02
_FEWEST_RUNS: Final = 2
# By so many times, at so many sizes in a row, the CPU has to be slower to be asked no more.
_CLEARLY: Final = 2.0
_SIZES_LOST: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a batch of a model costs on the CPU: a line in the number of rows."""

    base_s: float
    row_s: float

    def seconds(self, rows: int) -> float:
        """Return what a batch of so many rows takes."""
        return self.base_s + rows * self.row_s

    @property
    def inline_below_rows(self) -> float:
        """From so many rows on, a batch is cheaper to hand over than to run at once."""
        left_s = INLINE_BELOW_S - self.base_s
        if left_s <= 0:
            return 0.0
        return left_s / self.row_s if self.row_s else math.inf


# Of a model that could not be timed.
UNKNOWN_COST: Final = Cost(base_s=math.inf, row_s=0.0)


class Times:
    """What batches of some sizes took: between two sizes a line, beyond the last one in proportion.

    Fewer rows never take longer: where they did, something else ran beside them.
    """

    def __init__(self, rows: Sequence[int], seconds: Sequence[float]) -> None:
        """`rows` rise."""
        self.rows = tuple(rows)
        falling = itertools.accumulate(reversed(seconds), min)
        self.measured_s = tuple(reversed([*falling]))

    def seconds(self, rows: int) -> float:
        """Return what a batch of so many rows takes."""
        index = bisect.bisect_left(self.rows, rows)
        if index == len(self.rows):
            return self.measured_s[-1] * rows / self.rows[-1]
        if not index or self.rows[index] == rows:
            return self.measured_s[index]
        fewer, more = self.rows[index - 1], self.rows[index]
        part = (rows - fewer) / (more - fewer)
        return self.measured_s[index - 1] * (1 - part) + self.measured_s[index] * part

    @property
    def inline_below_rows(self) -> float:
        """From so many rows on, of those measured, a batch is cheaper to hand over than to run."""
        every = range(self.rows[-1] + 1)
        return float(bisect.bisect_left(every, INLINE_BELOW_S, key=self.seconds))


class Stopwatch(Protocol):
    """How long a run takes."""

    def __call__(self, place: str, rows: int, run: Callable[[], float]) -> float:
        """Return the seconds of a run of so many rows on the "cpu", or on the device.

        `run` returns how many of its own do not count.
        """
        ...


def time_runs(place: str, rows: int, run: Callable[[], float]) -> float:
    """Return the shortest of a few runs after one that warms up; of fewer where they are long.

    Whatever else is served meanwhile makes runs longer, here or there, and none shorter.
    """
    run()
    durations: list[float] = []
    while len(durations) < _RUNS:
        start = time.perf_counter()
        beside_s = run()
        durations.append(time.perf_counter() - start - beside_s)
        if len(durations) >= _FEWEST_RUNS and sum(durations) > _LONG_S:
            break
    return min(durations)


def measure(session: Session, max_batch_size: int) -> Cost:
    """Time the model on the CPU, at one row and at a batch; the first runs also warm it up."""
    if not session.batched:
        return Cost(base_s=_time(session, 1), row_s=0.0)
    rows = min(_MEASURED_ROWS, max_batch_size)
    one_s = _time(session, 1)
    many_s = _time(session, rows)
    row_s = max(0.0, many_s - one_s) / max(1, rows - 1)
    return Cost(base_s=max(0.0, one_s - row_s), row_s=row_s)


def rehearse(session: Session, max_batch_size: int) -> None:
    """Run once what `measure` runs: one row of zeros, and a batch."""
    rows = min(_MEASURED_ROWS, max_batch_size) if session.batched else 1
    for number in sorted({1, rows}):
        session.run(zeros(session, number))


def time_device(
    session: Session,
    run: Callable[[Sequence[Array]], object],
    max_batch_size: int,
    stopwatch: Stopwatch = time_runs,
    waited_s: Callable[[], float] = lambda: 0.0,
) -> Times:
    """Time a model on a device, by buckets of rows; `run` takes a batch there and back.

    The handing over to the lane's thread is a part of it. What runs have `waited_s` for others on
    the device is not: a model that is loaded beside a busy one would seem slow for good.
    """
    rows = buckets(max_batch_size) if session.batched else (1,)

    def one(number: int) -> float:
        arrays = zeros(session, number)

        def there_and_back() -> float:
            before_s = waited_s()
            run(arrays)
            return waited_s() - before_s

        return stopwatch("device", number, there_and_back)

    return Times(rows, [one(number) for number in rows])


def time_host(session: Session, device: Times, stopwatch: Stopwatch = time_runs) -> Times:
    """Time a model on the CPU at the sizes of `device`, until it is clear that it has lost.

    With the handing over, where batches are too long for the loop's own thread.
    """
    seconds: list[float] = []
    lost = 0
    for rows, device_s in zip(device.rows, device.measured_s, strict=True):
        took_s = stopwatch("cpu", rows, partial(_run_here, session, zeros(session, rows)))
        seconds.append(took_s + INLINE_BELOW_S if took_s >= INLINE_BELOW_S else took_s)
        lost = lost + 1 if seconds[-1] > _CLEARLY * device_s else 0
        if lost == _SIZES_LOST:
            break
    return Times(device.rows[: len(seconds)], seconds)


def break_even(host: Times, device: Times) -> int | None:
    """Return from how many rows on a device is faster, for good; None where it never is.

    Sizes that the CPU was not timed at any more are the device's.
    """
    pairs = zip(device.measured_s, host.measured_s, strict=False)
    lost = [index for index, (device_s, host_s) in enumerate(pairs) if device_s >= host_s]
    if not lost:
        return 1
    first = lost[-1] + 1
    if first == len(device.rows):
        return None
    # Between two sizes a device may have to run as many rows as in the larger one.
    needed_s = device.measured_s[first]
    between = range(device.rows[first - 1] + 1, device.rows[first])
    return next((rows for rows in between if host.seconds(rows) > needed_s), device.rows[first])


def zeros(session: Session, rows: int) -> list[Array]:
    """Return a batch of zeros, an array an input."""
    return [_zeros(spec, rows) for spec in session.inputs]


def warn_untimed(label: str, error: Exception) -> None:
    """Say that a model fails on rows of zeros, as it may: then nobody knows what it costs."""
    _log.warning(
        "%s could not be warmed up or timed, since it fails on rows of zeros (%s): its batches "
        "run on a thread of their own",
        label,
        reason(error),
    )


def _run_here(session: Session, arrays: Sequence[Array]) -> float:
    """Run on the CPU, where nothing waits for its turn."""
    session.run(arrays)
    return 0.0


def _time(session: Session, rows: int) -> float:
    arrays = zeros(session, rows)
    session.run(arrays)
    durations = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        session.run(arrays)
        durations.append(time.perf_counter() - start)
    return median(durations)


def _zeros(spec: TensorSpec, rows: int) -> Array:
    shape = list(spec.shape)
    if shape and shape[0] == -1:
        shape[0] = rows
    array: Array = np.zeros([1 if dim == -1 else dim for dim in shape], DTYPES[spec.datatype])
    if spec.datatype == "BYTES":
        array.fill("")
    return array
