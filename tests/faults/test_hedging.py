"""A second attempt for a call that is late: which answer is taken, what becomes of the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import grpc
import pytest

from isotherm.client import Hedge, ServerFaultError
from tests.faults.conftest import Connect
from tests.faults.drivers import Driver, End, Tasks
from tests.faults.scripted import Call, Scripted, refused, scripted, waiting_for
from tests.support.server import eventually

# Later than any answer that is not held back.
LATE_S = 0.2
HEDGE = Hedge(minimum_s=LATE_S)
TIMEOUT_S = 5.0
# Enough to know what is late, and to have earned second attempts.
KNOWN = 200


@pytest.fixture(name="server")
def _server() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


@pytest.fixture(name="driver")
def _driver(connect: Connect, server: Scripted) -> Driver:
    """A client that has seen enough calls to hedge."""
    driver = connect(server.address, hedge=HEDGE)
    for value in range(KNOWN):
        assert one(driver, value).error is None
    server.calls.clear()
    return driver


def one(driver: Driver, value: float) -> End:
    """Make one call."""
    (end,) = driver.ask([value], timeout=TIMEOUT_S)
    return end


def test_one_slow_answer_is_overtaken(driver: Driver, server: Scripted) -> None:
    """The caller has its answer while the server still holds the first one; that is cancelled."""
    release = threading.Event()
    server.script.append(waiting_for(release))
    begun_s = time.monotonic()
    end = one(driver, 1.5)
    first, second = server.calls
    cancelled = first.cancelled.wait(TIMEOUT_S)

    assert end.error is None
    assert (first.values, second.values) == ([1.5], [1.5])
    assert cancelled
    # Since the call: the first attempt may have been late in reaching the server.
    assert second.begun_s - begun_s >= LATE_S * 0.9


def test_callers_who_share_a_slow_request_are_overtaken_together(
    driver: Driver, server: Scripted
) -> None:
    """And each gets its own answer."""
    server.script.append(waiting_for(threading.Event()))
    ends = driver.ask(range(32), timeout=TIMEOUT_S)

    assert not [end.error for end in ends if end.error]


def test_the_first_attempt_is_taken_where_the_second_one_fails(
    driver: Driver, server: Scripted
) -> None:
    """A hedge never makes a call fail that would have succeeded."""
    release = threading.Event()

    def refused_and_released(call: Call) -> None:
        # The first attempt is answered once the second one has failed for sure.
        call.context.add_callback(release.set)
        refused(grpc.StatusCode.INTERNAL)(call)

    server.script.extend([waiting_for(release), refused_and_released])
    end = one(driver, 1.5)

    assert end.error is None
    assert len(server.calls) == 2


def test_where_both_fail_the_error_is_told(driver: Driver, server: Scripted) -> None:
    """Once."""

    def slowly_refused(call: Call) -> None:
        eventually(lambda: len(server.calls) == 2)
        refused(grpc.StatusCode.INTERNAL)(call)

    server.script.extend([slowly_refused, slowly_refused])
    error = one(driver, 1.5).error

    assert isinstance(error, ServerFaultError)
    assert len(server.calls) == 2


def test_who_gives_up_ends_both_attempts(driver: Driver, server: Scripted) -> None:
    """The server is told of each."""
    server.script.extend([waiting_for(threading.Event()), waiting_for(threading.Event())])
    future = driver.predict(1.5, timeout=TIMEOUT_S)
    assert eventually(lambda: len(server.calls) == 2)
    if isinstance(driver, Tasks):
        driver.cancel(future)
    else:
        driver.close_client()

    assert all(call.cancelled.wait(TIMEOUT_S) for call in server.calls)


def test_a_server_that_is_often_slow_gets_no_more_than_the_budget(
    connect: Connect, server: Scripted
) -> None:
    """A quarter of the calls is late, and a tenth may be made twice."""
    hedge = Hedge(percentile=0.5, budget=0.1, minimum_s=0.001)
    driver = connect(server.address, hedge=hedge, coalesce=False)
    never = threading.Event()

    def slow_at_some(call: Call) -> None:
        if call.values[0] % 4 == 0:
            never.wait(LATE_S)

    server.otherwise = slow_at_some
    ends = [end for _ in range(20) for end in driver.ask(range(16), timeout=TIMEOUT_S)]
    hedged = len(server.calls) - len(ends)

    assert not [end.error for end in ends if end.error]
    assert 0 < hedged <= hedge.budget * len(ends)


def test_without_a_hedge_nothing_is_asked_twice(connect: Connect, server: Scripted) -> None:
    """It is the caller's choice."""
    driver = connect(server.address)
    for value in range(KNOWN):
        one(driver, value)
    release = threading.Event()
    server.script.append(waiting_for(release))
    future = driver.predict(1.5, timeout=TIMEOUT_S)
    asked_again = eventually(lambda: len(server.calls) > KNOWN + 1, 3 * LATE_S)
    release.set()

    assert not asked_again
    assert future.result(TIMEOUT_S).error is None
