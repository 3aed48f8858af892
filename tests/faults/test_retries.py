"""What is asked again and what is not, by the calls that a server counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import pytest

from isotherm.client import (
    CallCancelledError,
    DeadlineExceededError,
    IsothermError,
    OverloadedError,
    Retry,
    UnavailableError,
)
from tests.faults.conftest import Connect
from tests.faults.drivers import CALLERS, Driver, End, Tasks
from tests.faults.scripted import Scripted, pushed_back, refused, scripted, waiting_for
from tests.support.server import eventually

TIMEOUT_S = 5.0
# So that tests of many repeated calls are short.
SOON = Retry(initial_backoff_s=0.001, max_backoff_s=0.01)
# What repeating may add to the load of a server that fails always.
MOST = 1.10
UNAVAILABLE = refused(grpc.StatusCode.UNAVAILABLE)


@pytest.fixture(name="server")
def _server() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


@pytest.fixture(name="driver")
def _driver(connect: Connect, server: Scripted) -> Driver:
    """A client with the default retries that knows the model."""
    driver = connect(server.address)
    assert one(driver, 0.5).error is None
    server.calls.clear()
    return driver


def one(driver: Driver, value: float, timeout: float = TIMEOUT_S) -> End:
    """Make one call."""
    (end,) = driver.ask([value], timeout=timeout)
    return end


def test_a_server_that_fails_always_gets_a_tenth_more_calls_at_most(
    connect: Connect, server: Scripted
) -> None:
    """One caller after the other: nothing is merged."""
    server.otherwise = UNAVAILABLE
    driver = connect(server.address, retry=SOON)
    ends = [one(driver, value) for value in range(1000)]

    assert {type(end.error) for end in ends} == {UnavailableError}
    assert len(ends) <= len(server.calls) <= MOST * len(ends)


def test_many_callers_at_once_do_not_storm_a_server_either(
    connect: Connect, server: Scripted
) -> None:
    """Each with calls of its own."""
    server.otherwise = UNAVAILABLE
    driver = connect(server.address, retry=SOON, coalesce=False)
    ends = [end for _ in range(16) for end in driver.ask(range(CALLERS), timeout=TIMEOUT_S)]

    assert {type(end.error) for end in ends} == {UnavailableError}
    assert len(ends) <= len(server.calls) <= MOST * len(ends)


def test_a_server_that_fails_at_everything_is_not_stormed_either(
    connect: Connect, server: Scripted
) -> None:
    """Not even with the question for the model's metadata, which each call begins with."""
    server.metadata = server.otherwise = UNAVAILABLE
    driver = connect(server.address, retry=SOON)
    ends = [one(driver, value) for value in range(1000)]

    assert {type(end.error) for end in ends} == {UnavailableError}
    assert len(server.others) + len(server.calls) <= MOST * len(ends)


def test_a_server_that_fails_now_and_then_is_asked_again(
    connect: Connect, server: Scripted
) -> None:
    """One call in a hundred fails, and no caller ever knows."""
    driver = connect(server.address, retry=SOON)
    for value in range(500):
        if value % 100 == 50:
            server.script.append(UNAVAILABLE)
        assert one(driver, value).error is None

    assert len(server.calls) == 505


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
def test_what_never_reached_a_model_is_asked_again(
    driver: Driver, server: Scripted, code: grpc.StatusCode
) -> None:
    """CANCELLED that no caller asked for is a server that goes away."""
    server.script.append(refused(code))

    assert one(driver, 1.5).error is None
    assert [call.values for call in server.calls] == [[1.5], [1.5]]


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
    ],
)
def test_other_failures_are_not_asked_again(
    driver: Driver, server: Scripted, code: grpc.StatusCode
) -> None:
    """A server that failed at a call would fail again, or do harm twice."""
    server.script.append(refused(code))
    error = one(driver, 1.5).error

    assert isinstance(error, IsothermError)
    assert error.code is code
    assert error.attempts == 1
    assert len(server.calls) == 1


def test_an_overloaded_server_is_asked_again_when_it_said(driver: Driver, server: Scripted) -> None:
    """Not before the 30 and the 60 ms that it wants to be left alone."""
    server.script.extend([pushed_back("30"), pushed_back("60")])
    end = one(driver, 1.5)
    first, second, third = server.calls

    assert end.error is None
    assert second.begun_s - first.ended_s >= 0.030
    assert third.begun_s - second.ended_s >= 0.060


@pytest.mark.parametrize("code", [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE])
def test_a_server_that_wants_no_more_is_left_alone(
    driver: Driver, server: Scripted, code: grpc.StatusCode
) -> None:
    """A negative time is how it says so."""
    server.script.append(refused(code, ("grpc-retry-pushback-ms", "-1")))
    error = one(driver, 1.5).error

    assert isinstance(error, (OverloadedError, UnavailableError))
    assert error.attempts == 1
    assert len(server.calls) == 1


def test_nobody_waits_for_a_server_that_comes_back_too_late(
    driver: Driver, server: Scripted
) -> None:
    """The caller learns how long it would have been."""
    server.script.append(pushed_back("60000"))
    end = one(driver, 1.5)

    assert isinstance(end.error, OverloadedError)
    assert end.error.retry_after_s == 60
    assert len(server.calls) == 1


def test_all_attempts_share_one_deadline(connect: Connect, server: Scripted) -> None:
    """And the error says how many there were, and why the last one failed."""
    server.otherwise = UNAVAILABLE
    driver = connect(server.address, retry=Retry(initial_backoff_s=0.2, max_backoff_s=0.2))
    error = one(driver, 1.5, timeout=0.4).error

    assert isinstance(error, (DeadlineExceededError, UnavailableError))
    # The deadline may pass while the last one is on its way.
    on_its_way = isinstance(error, DeadlineExceededError)
    assert len(server.calls) <= error.attempts <= len(server.calls) + on_its_way
    assert 1 <= error.attempts <= 5


def test_without_retries_nothing_is_asked_again(connect: Connect, server: Scripted) -> None:
    """One attempt is one call."""
    driver = connect(server.address, retry=Retry(attempts=1))
    one(driver, 0.5)
    server.script.append(UNAVAILABLE)
    error = one(driver, 1.5).error

    assert isinstance(error, UnavailableError)
    assert error.attempts == 1
    assert [call.values for call in server.calls] == [[0.5], [1.5]]


def test_what_the_caller_cancels_is_not_asked_again(driver: Driver, server: Scripted) -> None:
    """A task is cancelled, or the client is closed under a thread: the server is told so."""
    answer = threading.Event()
    server.script.append(waiting_for(answer))
    future = driver.predict(1.5, timeout=TIMEOUT_S)
    assert eventually(lambda: len(server.calls) == 1)
    if isinstance(driver, Tasks):
        driver.cancel(future)
    else:
        driver.close_client()
        assert isinstance(future.result(TIMEOUT_S).error, CallCancelledError)
    told = server.calls[0].cancelled.wait(TIMEOUT_S)

    assert told
    assert not eventually(lambda: len(server.calls) > 1, 0.3)


def test_who_gives_up_takes_nobody_along(driver: Driver, server: Scripted) -> None:
    """Of calls that wait for the one in flight, one has a short deadline, and one is cancelled."""
    answer = threading.Event()
    server.script.append(waiting_for(answer))
    first = driver.predict(1.0, timeout=TIMEOUT_S)
    assert eventually(lambda: len(server.calls) == 1)
    hurried = driver.predict(2.0, timeout=0.2)
    given_up = driver.predict(3.0, timeout=TIMEOUT_S)
    others = [driver.predict(value, timeout=TIMEOUT_S) for value in (4.0, 5.0, 6.0)]
    if isinstance(driver, Tasks):
        driver.cancel(given_up)
    # Not merged, a hurried call is answered while the first one waits.
    late = hurried.result(TIMEOUT_S)
    answer.set()

    assert late.error is None or isinstance(late.error, DeadlineExceededError)
    assert [future.result(TIMEOUT_S).error for future in (first, *others)] == [None] * 4
