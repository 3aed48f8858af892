"""What a client asks about a model before its first prediction: once, whoever waits for it."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from isotherm.client import DeadlineExceededError, NotFoundError, _tasks, _threads
from tests.unit.client.conftest import Connect
from tests.unit.client.driving import PATIENCE_S, Gate
from tests.unit.client.linear import LinearServer
from tests.unit.client.sharing import row

BURST = 24


def _count_entering(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Return what counts those who have come to ask about a model."""
    entered = Gate(limit=0)
    for shell in (_threads.Threads, _tasks.Tasks):
        enter = shell._enter

        def counted(self: Any, step: Any, enter: Any = enter) -> Any:
            entered()
            return enter(self, step)

        monkeypatch.setattr(shell, "_enter", counted)
    return entered


@pytest.mark.parametrize("coalesce", [True, False])
def test_a_burst_of_callers_asks_once_about_a_model(
    connect: Connect, server: LinearServer, monkeypatch: pytest.MonkeyPatch, coalesce: bool
) -> None:
    """One does, and the others wait for what it learns."""
    entered, held = _count_entering(monkeypatch), Gate()
    server.describe = held
    driver = connect(coalesce=coalesce)
    futures = [driver.call("predict", "plane", row(n)) for n in range(BURST)]
    entered.wait_for(BURST)
    held.open()

    assert list(range(BURST)) == [future.result(PATIENCE_S).item() for future in futures]
    assert server.calls.count("ModelMetadata") == 1
    assert server.calls.count("ModelConfig") == 1


def test_a_burst_of_callers_for_a_model_that_is_not_there_asks_once(
    connect: Connect, server: LinearServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them is told by an error of its own; whoever comes later asks again."""
    entered, held = _count_entering(monkeypatch), Gate()
    server.describe = held
    driver = connect()
    futures = [driver.call("predict", "absent", row(n)) for n in range(BURST)]
    entered.wait_for(BURST)
    held.open()
    errors = [future.exception(PATIENCE_S) for future in futures]

    assert all(isinstance(error, NotFoundError) for error in errors)
    assert len({id(error) for error in errors}) == BURST
    assert all(isinstance(error.__cause__, grpc.RpcError) for error in errors if error)
    assert server.calls.count("ModelMetadata") == 1
    server.models["absent"] = server.models["plane"]
    assert driver.ask("predict", "absent", row(5)).item() == 5


def test_who_waits_for_another_s_question_waits_no_longer_than_allowed(
    connect: Connect, server: LinearServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one who asks has more time."""
    entered, held = _count_entering(monkeypatch), Gate()
    server.describe = held
    driver = connect()
    patient = driver.call("predict", "plane", row(1), timeout=PATIENCE_S)
    held.wait_for(1)
    hurried = driver.call("predict", "plane", row(2), timeout=0.2)
    entered.wait_for(2)
    error = hurried.exception(PATIENCE_S)
    held.open()

    assert isinstance(error, DeadlineExceededError)
    assert patient.result(PATIENCE_S).item() == 1


def test_where_the_one_who_asks_is_late_another_does(
    connect: Connect, server: LinearServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time is not that of the others."""
    entered = _count_entering(monkeypatch)
    held = server.describe = Gate(limit=1)
    driver = connect()
    hurried = driver.call("predict", "plane", row(1), timeout=0.2)
    held.wait_for(1)
    patient = driver.call("predict", "plane", row(2), timeout=PATIENCE_S)
    entered.wait_for(2)
    error = hurried.exception(PATIENCE_S)
    held.open()

    assert isinstance(error, DeadlineExceededError)
    assert patient.result(PATIENCE_S).item() == 2


@pytest.mark.parametrize("kind", ["tasks"])
def test_where_the_one_who_asks_is_cancelled_another_does(
    connect: Connect, server: LinearServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for an answer that will not come."""
    entered = _count_entering(monkeypatch)
    held = server.describe = Gate(limit=1)
    driver = connect()
    leaving = driver.call("predict", "plane", row(1))
    held.wait_for(1)
    staying = driver.call("predict", "plane", row(2))
    entered.wait_for(2)
    leaving.cancel()
    answer = staying.result(PATIENCE_S)
    held.open()

    assert answer.item() == 2
