"""Tests of the shuffle: every row once an epoch, in an order that follows from the seed alone."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from isotherm.trainer.errors import DataError
from isotherm.trainer.stream.files import Group
from isotherm.trainer.stream.shuffle import Plan, Walk

_GROUPS = tuple(Group(file=0, index=index, first=100 * index, rows=100) for index in range(20))


def _plan(capacity: int = 450, batch: int = 64, rank: int = 0, groups=_GROUPS) -> Plan:
    # Every tenth row is held out.
    learned = np.array([90] * len(groups))
    return Plan(groups=groups, learned=learned, capacity=capacity, batch=batch, seed=1, rank=rank)


def _rows_of(group: Group):
    for first in range(group.first, group.first + group.rows, 30):
        numbers = np.arange(first, min(first + 30, group.first + group.rows))
        yield numbers[:, np.newaxis].astype(np.float32), numbers % 10 != 0


def _walked(plan: Plan, start: int = 0, epochs: int = 2, steps: int = 0, rows_of=_rows_of):
    walk = Walk(plan, rows_of, 1, steps or plan.steps)
    return [
        None if rows is None else rows[:, 0].numpy().copy() for rows in walk.batches(start, epochs)
    ]


@pytest.mark.parametrize("capacity", [100, 450, 10_000])
def test_every_epoch_has_every_row_once(capacity):
    plan = _plan(capacity)
    batches = _walked(plan)
    assert 2 * plan.steps == len(batches)
    every = [number for number in range(2000) if number % 10]
    first, second = (
        np.concatenate(part) for part in (batches[: plan.steps], batches[plan.steps :])
    )
    assert every == sorted(first) == sorted(second)
    assert not np.array_equal(first, second)
    assert max(len(batch) for batch in batches) <= 64


def test_fills_bring_distant_groups_together():
    plan = _plan()
    batches = _walked(plan, epochs=1)
    groups = [len({int(number) // 100 for number in batch}) for batch in batches]
    assert min(groups) >= 4


@pytest.mark.parametrize("capacity", [100, 450, 10_000])
def test_any_step_can_be_gone_on_from(capacity):
    plan = _plan(capacity)
    every = _walked(plan)
    for start in range(0, len(every) + 1, 3):
        rest = _walked(plan, start)
        assert len(every) - start == len(rest)
        assert all(np.array_equal(*pair) for pair in zip(every[start:], rest, strict=True))


def test_processes_share_the_rows_and_take_equal_steps():
    plans = [_plan(rank=rank, groups=_GROUPS[rank::3], batch=30) for rank in range(3)]
    steps = max(plan.steps for plan in plans)
    walked = [_walked(plan, epochs=1, steps=steps) for plan in plans]
    assert [steps] * 3 == [len(batches) for batches in walked]
    rows = np.concatenate([batch for batches in walked for batch in batches if batch is not None])
    assert [number for number in range(2000) if number % 10] == sorted(rows)
    # The shares of 7, 7 and 6 row groups differ: somebody waits.
    assert any(batch is None for batch in walked[2])


def test_process_without_rows_takes_its_steps():
    plan = Plan(groups=(), learned=np.array([], np.int64), capacity=10, batch=4, seed=0)
    assert [None] * 6 == _walked(plan, epochs=2, steps=3)
    assert [None] * 4 == _walked(plan, start=2, epochs=2, steps=3)


def test_error_of_the_reading_thread_reaches_the_caller():
    def broken(group: Group):
        if group.index == 11:
            msg = "row group 11 cannot be read"
            raise DataError(msg)
        yield from _rows_of(group)

    with pytest.raises(DataError, match="row group 11"):
        _walked(_plan(), rows_of=broken)


def test_walk_that_is_left_ends_its_thread():
    before = threading.enumerate()
    walk: Any = Walk(_plan(), _rows_of, 1, _plan().steps).batches(0, 1000)
    next(walk)
    # Threads of other tests may end meanwhile, or begin.
    new = [thread for thread in threading.enumerate() if thread not in before]
    (reading,) = (thread for thread in new if thread.name == "read ahead")
    walk.close()
    assert not reading.is_alive()
