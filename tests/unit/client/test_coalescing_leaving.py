"""Callers who leave a shared request, or whom its end does not reach: the others get their rows."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from concurrent.futures import CancelledError, Future

import numpy as np
import pytest

from isotherm.client import CallCancelledError, ClosedError, DeadlineExceededError
from tests.support.server import eventually
from tests.unit.client.conftest import Connect
from tests.unit.client.driving import LONG_S, PATIENCE_S, Driver, Gate, Tasks, Threads
from tests.unit.client.linear import LinearServer
from tests.unit.client.sharing import known, row, rows_of

# Long enough for a request to be on its way, on a machine that does other things as well.
SOON_S = 0.3
# Sooner than anybody's time is up, which ends a request as well.
AT_ONCE_S = 3.0
only_tasks = pytest.mark.parametrize("kind", ["tasks"])
only_threads = pytest.mark.parametrize("kind", ["threads"])


@pytest.fixture(name="driver")
def _driver(connect: Connect, server: LinearServer) -> Driver:
    """A client that knows `plane`."""
    return known(server, connect(), "plane", row(0))


def shared(driver: Driver, gate: Gate, *timeouts: float) -> list[Future]:
    """Have callers share a request that is held on the server: the second one, after another."""
    following = Gate()
    gate.then(following)
    first = driver.predict("plane", row(0))
    gate.wait_for(1)
    futures = [
        driver.predict("plane", row(1 + n), timeout=timeout) for n, timeout in enumerate(timeouts)
    ]
    gate.open()
    following.wait_for(1)
    assert first.result(PATIENCE_S).item() == 0
    return futures


@pytest.mark.usefixtures("patient")
def test_whose_time_is_up_ends_and_the_others_go_on(
    driver: Driver, server: LinearServer, gate: Gate
) -> None:
    """The request has the time of whoever can wait longest, wherever that one stands."""
    hurried, patient, second = shared(driver, gate, SOON_S, PATIENCE_S, SOON_S)
    errors = [each.exception(PATIENCE_S) for each in (hurried, second)]
    still_there = not patient.done()
    gate.open_all()

    assert all(isinstance(error, DeadlineExceededError) for error in errors)
    assert "no answer within 0.3 s" in str(errors[0])
    assert errors[0] is not errors[1]
    assert still_there
    assert patient.result(PATIENCE_S).item() == 2
    assert rows_of(server) == [row(0), row(1) + row(2) + row(3)]


@pytest.mark.usefixtures("patient")
def test_those_who_left_are_not_needed_to_wake_the_others(
    driver: Driver, server: LinearServer, gate: Gate
) -> None:
    """Threads wake one another, and not by way of those who have gone."""
    timeouts = [SOON_S] * 4 + [PATIENCE_S] * 4
    futures = shared(driver, gate, *timeouts)
    hurried = [each for each, s in zip(futures, timeouts, strict=True) if s == SOON_S]
    errors = [each.exception(PATIENCE_S) for each in hurried]
    gate.open_all()
    answers = [
        (number, each.result(PATIENCE_S / 2).item())
        for number, each in enumerate(futures, 1)
        if each not in hurried
    ]

    assert all(isinstance(error, DeadlineExceededError) for error in errors)
    assert answers == [(number, number) for number in (5, 6, 7, 8)]
    assert len(rows_of(server)) == 2


@pytest.mark.usefixtures("patient")
def test_whose_time_is_up_before_its_turn_is_not_sent(
    driver: Driver, server: LinearServer, gate: Gate
) -> None:
    """The server would work for nobody."""
    driver.predict("plane", row(0))
    gate.wait_for(1)
    hurried = [driver.predict("plane", row(n), timeout=SOON_S) for n in (1, 2)]
    patient = driver.predict("plane", row(3))
    errors = [each.exception(PATIENCE_S) for each in hurried]
    gate.open()

    assert all(isinstance(error, DeadlineExceededError) for error in errors)
    assert patient.result(PATIENCE_S).item() == 3
    assert rows_of(server) == [row(0), row(3)]


@pytest.mark.usefixtures("patient")
def test_where_nobody_s_time_lasts_the_request_ends_too(
    driver: Driver, server: LinearServer, gate: Gate
) -> None:
    """The server is told."""
    futures = shared(driver, gate, SOON_S, SOON_S)
    errors = [each.exception(PATIENCE_S) for each in futures]
    ended = server.inferences[1].over.wait(AT_ONCE_S)
    gate.open_all()

    assert all(isinstance(error, DeadlineExceededError) for error in errors)
    assert ended
    assert driver.ask("predict", "plane", row(7)).item() == 7


@only_tasks
@pytest.mark.usefixtures("patient")
def test_a_cancelled_task_leaves_and_the_others_go_on(
    driver: Driver, server: LinearServer, gate: Gate
) -> None:
    """In the request, and before it."""
    leaving, staying = shared(driver, gate, LONG_S, LONG_S)
    early, late = (driver.predict("plane", row(n)) for n in (8, 9))
    leaving.cancel()
    early.cancel()
    gate.open_all()

    assert staying.result(PATIENCE_S).item() == 2
    assert late.result(PATIENCE_S).item() == 9
    assert rows_of(server) == [row(0), row(1) + row(2), row(9)]


@only_tasks
@pytest.mark.usefixtures("patient")
def test_where_all_tasks_are_cancelled_so_is_the_request(
    driver: Driver, server: LinearServer, gate: Gate
) -> None:
    """And the next one is not held up by it."""
    futures = shared(driver, gate, LONG_S, LONG_S)
    futures[0].cancel()
    half = server.inferences[1].over.is_set()
    futures[1].cancel()
    ended = server.inferences[1].over.wait(AT_ONCE_S)
    gate.open_all()

    assert not half
    assert ended
    assert driver.ask("predict", "plane", row(7)).item() == 7


@only_tasks
def test_so_is_that_of_an_interval(driver: Driver, server: LinearServer, gate: Gate) -> None:
    """It is a prediction like others."""
    gate.open()
    for _ in range(2):
        driver.ask("predict_interval", "line", [[50.0]])
    server.inferences.clear()
    held = server.delay = Gate()
    future = driver.call("predict_interval", "line", np.array([[50]], np.float32))
    held.wait_for(1)
    future.cancel()
    ended = server.inferences[0].over.wait(AT_ONCE_S)
    held.open()

    assert ended


@only_tasks
@pytest.mark.usefixtures("patient")
def test_who_is_cancelled_before_the_request_begins_leaves_no_trace(
    driver: Driver, server: LinearServer
) -> None:
    """In the same turn of the loop as it came."""

    async def come_and_go() -> object:
        assert isinstance(driver, Tasks)
        task = asyncio.ensure_future(driver.client.predict("plane", row(1)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        # Whoever comes now must not wait for a request that never was.
        return await driver.client.predict("plane", row(2))

    assert isinstance(driver, Tasks)
    assert [[2]] == driver.run(come_and_go()).tolist()
    assert row(1) not in rows_of(server)


def test_a_request_that_hangs_does_not_hold_up_those_after_it(
    driver: Driver, server: LinearServer
) -> None:
    """They go ahead of it."""
    gate = server.delay = Gate(limit=1)
    try:
        hanging = driver.predict("plane", row(0), timeout=PATIENCE_S)
        gate.wait_for(1)
        futures = [driver.predict("plane", row(1 + n)) for n in range(6)]
        answers = [future.result(PATIENCE_S).item() for future in futures]
        still_there = not hanging.done()
    finally:
        gate.open()

    assert [1, 2, 3, 4, 5, 6] == answers
    assert still_there
    assert hanging.result(PATIENCE_S).item() == 0


def test_a_server_that_is_silent_gets_no_more_than_a_few_requests(
    driver: Driver, server: LinearServer, gate: Gate
) -> None:
    """However many callers wait."""
    futures = [driver.predict("plane", row(n), timeout=2 * SOON_S) for n in range(40)]
    errors = [future.exception(PATIENCE_S) for future in futures]
    gate.open()

    assert all(isinstance(error, DeadlineExceededError) for error in errors)
    assert len(server.requests) <= 8


@pytest.mark.usefixtures("patient")
def test_closing_ends_the_calls_of_all_who_wait(
    driver: Driver, server: LinearServer, gate: Gate
) -> None:
    """Of those in the request, and of those whose turn has not come."""
    futures = shared(driver, gate, LONG_S, LONG_S)
    futures += [driver.predict("plane", row(n), timeout=LONG_S) for n in (8, 9)]
    driver.close()
    errors = [future.exception(PATIENCE_S) for future in futures]
    gate.open_all()

    assert all(isinstance(error, CallCancelledError | ClosedError) for error in errors)
    assert len({id(error) for error in errors}) == len(futures)
    assert "closed" in str(errors[0])
    assert server.inferences[1].over.wait(AT_ONCE_S)


class _InterruptedError(BaseException):
    pass


def _interrupt(*_: object) -> None:
    raise _InterruptedError


@pytest.fixture(name="interrupt")
def _interrupting():
    """Return what interrupts the main thread, as Ctrl-C does."""
    before = signal.signal(signal.SIGUSR1, _interrupt)
    main = threading.main_thread().ident
    assert main is not None
    yield lambda: signal.pthread_kill(main, signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def _polls(thread: int, samples: list[str]) -> bool:
    """Tell whether a thread has been in gRPC's core for some time."""
    samples.append(sys._current_frames()[thread].f_code.co_name)
    return len(samples) >= 5 and set(samples[-5:]) == {"_blocking"}


@only_threads
@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("moment", ["while it waits", "while it makes the request"])
def test_who_is_interrupted_leaves_and_the_others_are_answered(
    driver: Driver, server: LinearServer, gate: Gate, interrupt, moment: str
) -> None:
    """The request is made by one of them for all; where that one goes, another takes its place."""
    assert isinstance(driver, Threads)
    following = Gate(limit=1)
    gate.then(following)
    driver.predict("plane", row(0))
    gate.wait_for(1)
    group = driver.group("plane")
    assert group is not None
    main = threading.get_ident()
    samples: list[str] = []
    others: list[Future] = []

    def meanwhile() -> None:
        assert eventually(lambda: len(group.pending) == 1)
        others.extend(driver.predict("plane", row(n), timeout=LONG_S) for n in (1, 2, 3))
        if moment == "while it waits":
            # Not on its way there: it would be waited for as one of those who wait.
            assert eventually(lambda: sys._current_frames()[main].f_code.co_name == "wait")
            interrupt()
            return
        gate.open()
        following.wait_for(1)
        # Not while gRPC takes a lock of its own, which would stay locked.
        assert eventually(lambda: _polls(main, samples))
        interrupt()

    helper = threading.Thread(target=meanwhile)
    helper.start()
    # Whoever can wait longest makes the request.
    with pytest.raises(_InterruptedError):
        driver.client.predict("plane", row(9), timeout=2 * LONG_S)
    helper.join()
    gate.open_all()
    # Sooner than their deadlines.
    answers = [future.result(PATIENCE_S).item() for future in others]

    assert [1, 2, 3] == answers
    assert driver.ask("predict", "plane", row(7)).item() == 7
    if moment == "while it makes the request":
        # gRPC may have been interrupted with a lock in its hands.
        interrupted, *others_after = [each.peer for each in server.inferences[1:]]
        assert interrupted not in others_after


@only_tasks
def test_a_loop_that_ends_leaves_nobody_waiting(driver: Driver, gate: Gate) -> None:
    """All tasks of the loop are cancelled then, those of ours and those of the callers."""
    assert isinstance(driver, Tasks)
    futures = [driver.predict("plane", row(n)) for n in range(3)]
    gate.wait_for(1)

    async def cancel_all() -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    driver.run(cancel_all())
    for future in futures:
        with pytest.raises(CancelledError):
            future.result(PATIENCE_S)
    gate.open()

    assert driver.ask("predict", "plane", row(7)).item() == 7
