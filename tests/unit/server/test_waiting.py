"""The queue of a model: what the next batch is made of, and who is dropped."""

from __future__ import annotations

import time

import numpy as np

from isotherm.server.config import BatchingConfig
from isotherm.server.errors import HopelessError, RequestError
from isotherm.server.execution import Job
from isotherm.server.layout import CloseReason
from isotherm.server.pace import Pace
from isotherm.server.waiting import Waiting
from tests.unit.server.fakes import FakeCall


class Line(Waiting):
    """The queue of a model that takes a second a row."""

    def __init__(self) -> None:
        self.refusals: dict[Job, RequestError] = {}
        super().__init__(BatchingConfig(), Pace(float, 100), self.refusals.__setitem__)

    def add(self, rows: int = 1, seconds: float | None = None) -> Job:
        """Queue a job whose caller gives up after so many seconds."""
        caller = FakeCall(deadline=None if seconds is None else time.time() + seconds)
        job = Job([np.zeros((rows, 1))], rows, caller, time.perf_counter_ns())
        self.append(job)
        return job

    def next(self, *, in_time: bool = True) -> tuple[list[Job], int, CloseReason]:
        """Take a batch of up to a hundred rows."""
        return self.take(100, CloseReason.IDLE, in_time=in_time)


def test_a_batch_takes_no_job_for_which_one_before_it_would_be_late() -> None:
    """All of a batch are answered at its end, so a large one is not always a good one."""
    line = Line()
    jobs = [line.add(seconds=8), line.add(seconds=4.5), line.add(2), line.add(2), line.add()]

    first, second = line.next(), line.next()

    # A second a row: after four of them, four and a half are nearly over.
    assert first == (jobs[:3], 4, CloseReason.DEADLINE)
    assert second == (jobs[3:], 3, CloseReason.IDLE)
    assert not line.refusals
    assert (len(line), line.rows) == (0, 0)


def test_a_hurried_job_waits_for_a_batch_in_which_it_is_not_late() -> None:
    """It would be with those before it."""
    line = Line()
    jobs = [line.add(3), line.add(seconds=2), line.add()]

    assert line.next() == (jobs[:1], 3, CloseReason.DEADLINE)
    assert line.next() == (jobs[1:2], 1, CloseReason.DEADLINE)
    assert line.next() == (jobs[2:], 1, CloseReason.IDLE)


def test_a_job_that_can_only_be_late_makes_way_for_others() -> None:
    """It was welcome when it came, but its turn comes later than was foretold."""
    line = Line()
    hopeless, other = line.add(2, seconds=1.5), line.add()

    assert line.next() == ([other], 1, CloseReason.IDLE)
    assert isinstance(line.refusals[hopeless], HopelessError)


def test_a_job_that_can_only_be_late_is_run_if_nobody_else_waits() -> None:
    """What is foretold may be wrong, and the time is nobody's."""
    line = Line()
    job = line.add(2, seconds=1.5)

    assert line.next() == ([job], 2, CloseReason.IDLE)
    assert not line.refusals


def test_without_a_plan_only_what_is_over_is_dropped() -> None:
    """Short batches end before it matters, and each look at the clock costs them dear."""
    line = Line()
    line.add(seconds=-1)
    jobs = [line.add(2, seconds=1.5), line.add(9, seconds=1.5)]

    assert line.next(in_time=False) == (jobs, 11, CloseReason.IDLE)
    assert len(line.refusals) == 1
