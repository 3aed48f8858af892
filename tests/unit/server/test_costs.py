"""What a model costs by the rows of a batch, and from how many rows on a device is worth it."""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from isotherm.server.costs import (
    INLINE_BELOW_S,
    UNKNOWN_COST,
    Cost,
    Times,
    break_even,
    measure,
    rehearse,
    time_device,
    time_host,
    time_runs,
)
from isotherm.server.session import Array
from tests.support import models
from tests.support.stopwatch import Figures
from tests.unit.server.fakes import session, shapes


@pytest.mark.parametrize(
    ("base_s", "row_s", "rows", "inline"),
    [
        (10e-6, 1e-6, 1, True),
        (10e-6, 1e-6, 189, True),
        (10e-6, 1e-6, 191, False),
        (INLINE_BELOW_S, 0.0, 1, False),
        (0.0, 0.0, 1_000_000, True),
    ],
)
def test_a_short_batch_runs_inline(base_s: float, row_s: float, rows: int, inline: bool):
    """The line in the number of rows is held against the cost of handing over."""
    assert (rows < Cost(base_s=base_s, row_s=row_s).inline_below_rows) is inline


def test_a_model_that_nobody_could_time_never_runs_inline():
    """It may take any time."""
    assert UNKNOWN_COST.inline_below_rows == 0
    assert math.isinf(UNKNOWN_COST.seconds(1))


@pytest.mark.parametrize(
    "model",
    [
        models.mlp(),
        models.simple(),
        models.identity(),
        models.identity(TensorProto.FLOAT, ("length",)),
        models.identity(TensorProto.FLOAT16, (2,)),
        models.identity(TensorProto.BOOL, (2, 3)),
        models.lookup(),
        models.fixed_batch(),
    ],
    ids=["mlp", "simple", "text", "variable", "half", "bool", "lookup", "fixed"],
)
@pytest.mark.parametrize("max_batch_size", [1, 1024])
def test_every_kind_of_model_can_be_measured(model: onnx.ModelProto, max_batch_size: int):
    """Zeros of every datatype and shape run; times are not negative."""
    loaded = session(model)
    rehearse(loaded, max_batch_size)
    cost = measure(loaded, max_batch_size)

    assert cost.base_s >= 0
    assert cost.row_s >= 0
    assert loaded.batched or cost.row_s == 0


def test_a_heavy_model_is_measured_as_heavy():
    """A hundred million multiplications a row belong on the other thread."""
    cost = measure(session(models.mlp((512, 2048, 2048, 2048, 8))), 64)

    assert cost.inline_below_rows < 64


@pytest.mark.parametrize(
    ("rows", "seconds"), [(1, 10), (2, 20), (3, 30), (4, 40), (6, 70), (8, 100), (16, 200)]
)
def test_between_two_sizes_a_time_is_on_their_line(rows: int, seconds: float):
    """Beyond the last one it grows with the rows."""
    assert Times([1, 2, 4, 8], [10, 20, 40, 100]).seconds(rows) == pytest.approx(seconds)


def test_fewer_rows_never_take_longer():
    """Where they did, somebody else's work fell on them."""
    times = Times([1, 2, 4], [10, 50, 40])

    assert times.measured_s == (10, 40, 40)
    assert times.seconds(3) == 40


@pytest.mark.parametrize(
    ("seconds", "rows"),
    [
        ([10e-6, 20e-6, 100e-6, 300e-6], 7),
        ([10e-6, 20e-6, 100e-6, 150e-6], 9),
        ([300e-6, 400e-6, 500e-6, 600e-6], 0),
    ],
    ids=["between", "all", "none"],
)
def test_measured_batches_run_inline_while_they_are_short(seconds: list[float], rows: int):
    """Up to the last size that was measured."""
    assert Times([1, 2, 4, 8], seconds).inline_below_rows == rows


@pytest.mark.parametrize(
    ("device_s", "host_s", "rows"),
    [
        ([5, 5, 5, 5], [6, 7, 8, 9], 1),
        ([5, 5, 5, 5], [1, 2, 3, 4], None),
        ([5, 5, 5, 5], [1, 2, 4, 8], 6),
        ([5, 5, 5, 5], [1, 4, 6, 8], 4),
        ([5, 5, 5, 5], [6, 4, 4.5, 8], 5),
        ([5, 5, 5, 5], [1, 10], 2),
        ([5, 5, 5, 5], [10, 20], 1),
        ([5, 5, 5, 20], [1, 2, 10, 19], None),
        ([5, 5, 5, 5], [5, 5, 5, 5], None),
    ],
    ids=[
        *("always", "never", "between two sizes", "at once after a size", "not for good before"),
        *("the CPU gave up", "the CPU gave up at once", "not at the end", "a draw"),
    ],
)
def test_a_device_is_worth_it_from_so_many_rows_on(
    device_s: list[float], host_s: list[float], rows: int | None
):
    """From there on for good; the CPU wins draws."""
    sizes = [1, 2, 4, 8]

    assert break_even(Times(sizes[: len(host_s)], host_s), Times(sizes, device_s)) == rows


def test_no_batch_is_sent_where_it_takes_longer():
    """Whatever was measured: at every size that both were timed at, for rising times."""
    rng = np.random.default_rng(5)
    sizes = [1, 2, 4, 8, 16]
    for _ in range(300):
        device = Times(sizes, np.sort(rng.random(5)).tolist())
        host = Times(sizes, np.sort(rng.random(5)).tolist())
        rows = break_even(host, device)
        for size in sizes:
            if rows is not None and size >= rows:
                assert device.seconds(size) < host.seconds(size)
        if rows is None:
            assert host.seconds(16) <= device.seconds(16)
        elif rows > 1:
            fewer = max(size for size in sizes if size < rows)
            assert host.seconds(fewer) <= device.seconds(min(s for s in sizes if s >= rows))


def test_a_device_is_timed_at_every_bucket():
    """By what takes a batch there and back."""
    sent: list[Sequence[Array]] = []
    loaded = session(models.simple())
    figures = Figures(device=lambda rows: rows / 1000)
    times = time_device(loaded, sent.append, 12, figures)

    assert [rows for _, rows in figures.asked] == [1, 2, 4, 8, 12]
    assert [shapes(arrays) for arrays in sent] == [[(n, 16), (n, 16)] for n in (1, 2, 4, 8, 12)]
    assert times.measured_s == (0.001, 0.002, 0.004, 0.008, 0.012)


def test_a_model_without_batches_is_timed_as_it_is():
    """There is no other size."""
    figures = Figures(device=lambda _rows: 1e-3, cpu=lambda _rows: 2e-3)
    loaded = session(models.fixed_batch())
    device = time_device(loaded, loaded.run, 64, figures)
    host = time_host(loaded, device, figures)

    assert figures.asked == [("device", 1), ("cpu", 1)]
    assert break_even(host, device) == 1


def test_the_cpu_is_timed_until_it_has_clearly_lost():
    """A load is not to take seconds for what nobody will do."""
    loaded = session(models.doubling())
    figures = Figures(cpu=lambda rows: rows * 1e-5)
    device = Times([1, 2, 4, 8, 16, 32], [1e-5] * 6)
    host = time_host(loaded, device, figures)

    assert [rows for _, rows in figures.asked] == [1, 2, 4, 8]
    assert host.rows == (1, 2, 4, 8)


def test_losing_once_is_not_losing():
    """Whoever else ran then."""
    loaded = session(models.doubling())
    odd = {1: 1e-6, 2: 9e-5, 4: 1e-5, 8: 9e-5, 16: 2e-5}
    figures = Figures(cpu=odd.__getitem__)
    time_host(loaded, Times([1, 2, 4, 8, 16], [3e-5] * 5), figures)

    assert [rows for _, rows in figures.asked] == [1, 2, 4, 8, 16]


def test_long_batches_on_the_cpu_are_handed_over_too():
    """Which the device's times have in them."""
    loaded = session(models.doubling())
    host = time_host(
        loaded,
        Times([1, 2], [1.0, 1.0]),
        Figures(cpu={1: INLINE_BELOW_S / 2, 2: INLINE_BELOW_S}.__getitem__),
    )

    assert host.measured_s == (INLINE_BELOW_S / 2, 2 * INLINE_BELOW_S)


def test_a_few_runs_are_timed_after_one_that_warms_up():
    """The first of a new size may take anything; fewer of those that take long."""
    counts = []
    for sleep_s in (0.0, 0.011):
        calls = itertools.count()
        pause = threading.Event()

        def run(calls=calls, pause=pause, sleep_s=sleep_s) -> float:
            pause.wait(sleep_s if next(calls) else 0.05)
            return 0.0

        took_s = time_runs("cpu", 1, run)
        counts.append(next(calls))
        assert took_s < 0.05

    assert counts == [6, 3]


def test_what_a_run_waited_for_others_does_not_count():
    """Here all of it: a model is not slower because the device has been busy."""
    pause = threading.Event()

    def run() -> float:
        began_s = time.perf_counter()
        pause.wait(0.02)
        return time.perf_counter() - began_s

    assert time_runs("device", 1, run) < 0.01


def test_a_device_that_others_use_is_timed_without_them():
    """Of each run, what it has waited, and nothing of what went before."""
    waited = [5.0]
    told: list[float] = []

    def run(_arrays: Sequence[Array]) -> None:
        waited[0] += 0.25

    def stopwatch(place: str, rows: int, run: Callable[[], float]) -> float:
        told.append(run())
        return float(rows)

    time_device(session(models.doubling()), run, 4, stopwatch, lambda: waited[0])

    assert told == [0.25] * 3
