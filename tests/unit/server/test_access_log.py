"""The access log: a fair sample of what was answered, and what failed up to a number a second."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import numpy as np
import pytest

from isotherm.server import access_log
from isotherm.server.access_log import MAX_FAILURES_PER_S, AccessLog
from isotherm.server.execution import Batch, Job
from tests.unit.server.fakes import FakeCall


@pytest.fixture(name="lines")
def _lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What is logged, while everything else is silent."""
    logging.getLogger().setLevel(logging.ERROR)
    return caplog


def batch(*ids: str, rows: int = 1) -> Batch:
    """Return a batch of jobs that waited a millisecond, ran for two, and took one to assemble."""
    jobs = [
        Job(
            [np.zeros((rows, 1))],
            rows,
            FakeCall(),
            1_000_000,
            context=SimpleNamespace(request_id=request_id),
        )
        for request_id in ids
    ]
    return Batch(jobs, rows * len(jobs), 2_000_000, assemble_ns=1_000_000, run_ns=2_000_000)


def test_a_line_says_whose_request_it_was_and_where_its_time_went(lines) -> None:
    """In microseconds; the phases are those of the metrics."""
    AccessLog(1).answered("m", 3, batch("a", "b", rows=2), 500_000)

    assert lines.messages == [
        f'model=m version=3 code=OK rows=2 id="{request_id}" duration_us=4500 queue_us=1000 '
        "run_us=2000 batch_rows=4"
        for request_id in "ab"
    ]


@pytest.mark.parametrize(("share", "expected"), [(1, 1000), (0.5, 500), (0.03, 30), (0.001, 1)])
@pytest.mark.parametrize("size", [1, 7, 250, 1000])
def test_the_share_is_kept_however_requests_come(lines, share: float, expected: int, size: int):
    """One by one, or many in a batch."""
    log = AccessLog(share)
    for start in range(0, 1000, size):
        log.answered("m", 1, batch(*map(str, range(start, min(start + size, 1000)))), 0)

    assert len(lines.messages) == pytest.approx(expected, abs=1)
    assert len(set(lines.messages)) == len(lines.messages)


def test_a_callers_id_cannot_forge_a_line(lines) -> None:
    """Nor fill the disk."""
    AccessLog(1).answered("m", 1, batch('x"\nERROR all is lost' + "y" * 1000), 0)

    (line,) = lines.messages
    assert "\n" not in line
    assert r"x\"\nERROR all is lost" in line
    assert len(line) < 300


class FollowedCall(FakeCall):
    """A call that has a trace."""

    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_a_request_that_is_traced_names_its_trace(lines) -> None:
    """The others have no such field."""
    both = batch("a", "b")
    both.jobs[1].caller = FollowedCall()
    AccessLog(1).answered("m", 1, both, 0)
    AccessLog(1).failed("m", 1, "INTERNAL", "broken", 1_000, FollowedCall.trace_id)

    assert [line.rpartition(" ")[2] for line in lines.messages] == [
        "batch_rows=2",
        f"trace_id={FollowedCall.trace_id}",
        f"trace_id={FollowedCall.trace_id}",
    ]


def test_failures_are_listed_up_to_a_number_a_second(lines, monkeypatch) -> None:
    """What was left out is counted when the second is over."""
    clock = SimpleNamespace(now=5.0)
    monkeypatch.setattr(access_log, "time", SimpleNamespace(monotonic=lambda: clock.now))
    log = AccessLog(0.01)
    for _ in range(MAX_FAILURES_PER_S + 20):
        log.failed("m", 1, "RESOURCE_EXHAUSTED", "the queue is full", 1_000)
    first_second = len(lines.messages)
    clock.now = 6.0
    log.failed("m", 1, "INVALID_ARGUMENT", "no\nsuch input", 2_000)

    assert first_second == MAX_FAILURES_PER_S
    assert lines.messages[0] == (
        'model=m version=1 code=RESOURCE_EXHAUSTED duration_us=1 reason="the queue is full"'
    )
    assert lines.messages[-2:] == [
        "20 more requests failed and are not listed",
        r'model=m version=1 code=INVALID_ARGUMENT duration_us=2 reason="no\nsuch input"',
    ]
