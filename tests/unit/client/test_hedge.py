"""Second attempts: when they are due, how many there may be, and which answer is taken."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from isotherm.client import Hedge, Retry, ServerFaultError
from isotherm.client._hedge import Hedges
from tests.support.server import eventually
from tests.unit.client.conftest import Connect
from tests.unit.client.driving import LONG_S, PATIENCE_S, Driver, Gate
from tests.unit.client.linear import Inference, LinearServer
from tests.unit.client.sharing import known, row, rows_of

# Enough to know what is late, and to have earned second attempts.
SEEN = 40
LATE_S = 0.15


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"percentile": 0.49}, "percentile is 0.49, expected 0.5 or more and less than 1"),
        ({"percentile": 1.0}, "percentile is 1.0, expected 0.5 or more and less than 1"),
        ({"percentile": float("nan")}, "percentile is nan"),
        ({"budget": 0.0}, "budget is 0.0, expected a share above 0 and up to 0.5"),
        ({"budget": 0.51}, "budget is 0.51, expected a share above 0 and up to 0.5"),
        ({"budget": float("nan")}, "budget is nan"),
        ({"minimum_s": 0.0}, "minimum_s is 0.0, expected a positive number of seconds"),
        ({"minimum_s": float("nan")}, "minimum_s is nan"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(arguments, message) -> None:
    """With what was expected."""
    with pytest.raises(ValueError, match=message):
        Hedge(**arguments)


def test_nothing_is_late_before_enough_is_known() -> None:
    """Then it is what is later than nearly all others."""
    hedges = Hedges(Hedge(percentile=0.9, minimum_s=1e-6))
    seconds = np.random.default_rng(3).permutation(np.arange(1, 513) / 1000)
    for each in seconds[:31]:
        hedges.answered(each)
        assert hedges.after_s() is None
    for each in seconds[31:]:
        hedges.answered(each)

    assert hedges.after_s() == pytest.approx(np.quantile(seconds, 0.9))


def test_what_is_late_follows_the_last_calls() -> None:
    """A server that has become slower is not asked twice for ever."""
    hedges = Hedges(Hedge(minimum_s=1e-6))
    for seconds in (0.001, 0.5):
        for _ in range(512):
            hedges.answered(seconds)
        assert hedges.after_s() == pytest.approx(seconds)


def test_nothing_is_late_sooner_than_the_minimum() -> None:
    """Where all calls are quick, a second attempt helps nobody."""
    hedges = Hedges(Hedge(minimum_s=0.25))
    for _ in range(64):
        hedges.answered(0.001)

    assert hedges.after_s() == 0.25


@pytest.mark.parametrize("budget", [0.01, 0.05, 0.5])
def test_second_attempts_are_no_more_than_their_share(budget: float) -> None:
    """However late all calls are."""
    hedges = Hedges(Hedge(budget=budget))
    assert not hedges.spend()
    calls, spent = 2000, 0
    for _ in range(calls):
        hedges.answered(1.0)
        spent += hedges.spend()

    assert budget * calls - 1 <= spent <= budget * calls


def test_a_share_that_is_not_used_is_not_saved_up_for_ever() -> None:
    """A server that breaks down after a good day gets few at once."""
    hedges = Hedges(Hedge(budget=0.5))
    for _ in range(10_000):
        hedges.answered(0.001)

    assert sum(hedges.spend() for _ in range(100)) == 10


def test_threads_may_share_the_budget() -> None:
    """Nothing is spent twice."""
    hedges = Hedges(Hedge(budget=0.25))
    barrier = threading.Barrier(4)

    def work(_: int) -> int:
        barrier.wait()
        spent = 0
        for _ in range(400):
            hedges.answered(0.001)
            spent += hedges.spend()
        return spent

    with ThreadPoolExecutor(4) as pool:
        spent = sum(pool.map(work, range(4)))
    spent += sum(hedges.spend() for _ in range(20))

    assert 390 <= spent <= 400


@pytest.fixture(name="driver")
def _driver(connect: Connect, server: LinearServer) -> Driver:
    """A client that has seen enough to know what is late."""
    hedge = Hedge(percentile=0.99, budget=0.5, minimum_s=LATE_S)
    driver = connect(hedge=hedge, retry=Retry(attempts=1), timeout=LONG_S)
    for _ in range(SEEN):
        driver.ask("predict", "plane", row(0))
    return known(server, driver, "plane", row(0))


def test_a_late_answer_is_overtaken(driver: Driver, server: LinearServer) -> None:
    """By the second attempt, on another connection; the first one is cancelled."""
    held = Gate()
    server.script = [held]
    answer = driver.ask("predict", "plane", row(5))
    first, second = server.inferences
    cancelled = first.over.wait(PATIENCE_S)
    held.open()

    assert answer.item() == 5
    assert rows_of(server) == [row(5), row(5)]
    assert cancelled
    assert first.peer != second.peer


def test_the_first_attempt_may_still_come_first(driver: Driver, server: LinearServer) -> None:
    """Then the second one is cancelled."""
    first, second = Gate(), Gate()
    server.script = [first, second]
    future = driver.predict("plane", row(5))
    second.wait_for(1)
    first.open()
    answer = future.result(PATIENCE_S)
    cancelled = server.inferences[1].over.wait(PATIENCE_S)
    second.open()

    assert answer.item() == 5
    assert cancelled


def test_a_failure_waits_for_what_the_other_attempt_says(
    driver: Driver, server: LinearServer
) -> None:
    """Whichever of them it is that fails."""
    for failing in (0, 1):
        server.inferences.clear()
        failed, going_on = threading.Event(), Gate()

        def fail(inference: Inference, failed: threading.Event = failed) -> None:
            assert eventually(lambda: len(server.inferences) == 2)
            inference.context.add_callback(failed.set)
            inference.end(grpc.StatusCode.INTERNAL)

        server.script = [fail, going_on] if failing == 0 else [going_on, fail]
        future = driver.predict("plane", row(5))
        assert failed.wait(PATIENCE_S)
        told = future.done()
        going_on.open()

        assert not told
        assert future.result(PATIENCE_S).item() == 5


def test_where_both_attempts_fail_the_caller_is_told(driver: Driver, server: LinearServer) -> None:
    """Once, and nothing is made a third time."""

    def fail(inference: Inference) -> None:
        assert eventually(lambda: len(server.inferences) == 2)
        inference.end(grpc.StatusCode.INTERNAL)

    server.script = [fail, fail]
    error = driver.call("predict", "plane", row(5)).exception(PATIENCE_S)

    assert isinstance(error, ServerFaultError)
    assert len(server.inferences) == 2


def test_a_failure_in_time_is_not_asked_again(driver: Driver, server: LinearServer) -> None:
    """A hedge is for what is late."""
    server.failures = [grpc.StatusCode.INTERNAL]
    error = driver.call("predict", "plane", row(5)).exception(PATIENCE_S)

    assert isinstance(error, ServerFaultError)
    assert len(server.inferences) == 1


@pytest.mark.usefixtures("patient")
def test_callers_who_share_a_request_are_overtaken_together(
    driver: Driver, server: LinearServer, gate: Gate
) -> None:
    """The second attempt has all their rows."""
    together = row(1) + row(2) + row(3)
    held = Gate(limit=1)
    server.script = [lambda inference: inference.rows == together and held()] * 5
    first = driver.predict("plane", row(0))
    gate.wait_for(1)
    futures = [driver.predict("plane", row(1 + n)) for n in range(3)]
    gate.open()
    answers = [future.result(PATIENCE_S).item() for future in (first, *futures)]
    held.open()

    assert [0, 1, 2, 3] == answers
    assert rows_of(server).count(together) == 2


def test_without_a_budget_nothing_is_asked_twice(connect: Connect, server: LinearServer) -> None:
    """The first attempt is waited for."""
    driver = connect(hedge=Hedge(budget=0.01, minimum_s=0.01))
    for _ in range(SEEN):
        driver.ask("predict", "plane", row(0))
    known(server, driver, "plane", row(0))
    held = Gate()
    server.script = [held]
    future = driver.predict("plane", row(5))
    held.wait_for(1)
    asked_again = eventually(lambda: len(server.inferences) > 1, 0.2)
    held.open()

    assert not asked_again
    assert future.result(PATIENCE_S).item() == 5
