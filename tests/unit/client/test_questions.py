"""Questions about a server and its models, and orders to it, by both clients."""

from __future__ import annotations

import socket
import threading
from typing import Any

import grpc
import numpy as np
import pytest

from isotherm.client import (
    DeadlineExceededError,
    Interval,
    InvalidInputError,
    IsothermError,
    NoContractError,
    NotFoundError,
    RemoteError,
    Retry,
    ServerFaultError,
    UnsupportedError,
    _questions,
    _tasks,
    _threads,
)
from isotherm.v1 import contract as contracts
from tests.unit.client.conftest import Connect
from tests.unit.client.driving import PATIENCE_S, Driver, Gate
from tests.unit.client.linear import LinearModel, LinearServer, serving, thermometer_contract
from tests.unit.client.sharing import known, row, rows_of

BURST = 24


@pytest.fixture(name="driver")
def _driver(connect: Connect) -> Driver:
    return connect()


# Ready.


def test_who_is_ready_is_not_waited_for(driver: Driver, server: LinearServer) -> None:
    """One question, for the server and for a model."""
    assert driver.ask("wait_ready") is None
    assert driver.ask("wait_ready", "plane") is None
    assert driver.ask("wait_ready", "plane", 1) is None
    assert ["ServerReady", "ModelReady", "ModelReady"] == server.calls


@pytest.mark.parametrize("model", [None, "plane"])
def test_who_is_not_ready_is_asked_until_it_is(
    driver: Driver, server: LinearServer, model: str | None
) -> None:
    """Both ways of saying no are waited out: not ready, and not there."""
    plane = server.models.pop("plane")
    server.ready = False
    asked = threading.Event()

    class Calls(list[str]):
        def append(self, call: str) -> None:
            super().append(call)
            if len(self) == 2:
                server.models["plane"] = plane
                server.ready = True
                asked.set()

    server.calls = Calls()
    driver.ask("wait_ready", model)

    assert asked.is_set()
    assert len(server.calls) >= 2


def test_a_model_that_another_server_does_not_know_yet_is_waited_for(
    driver: Driver, server: LinearServer
) -> None:
    """Not all of them say NOT_FOUND."""
    answers = [grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND]
    server.prepare = lambda context: answers and context.abort(answers.pop(0), "not yet")
    driver.ask("wait_ready", "plane")

    assert answers == []


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (None, "the server was not ready within 5 s: it says that it is not"),
        ("plane", "model 'plane' was not ready within 5 s: it says that it is not"),
        ("absent", "model 'absent' was not ready within 5 s: .*'absent' is not found"),
    ],
)
def test_who_is_not_ready_in_time_is_told_of(
    driver: Driver,
    server: LinearServer,
    monkeypatch: pytest.MonkeyPatch,
    model: str | None,
    reason: str,
) -> None:
    """The error says what it lacked."""
    server.ready = False
    # No time for a second question.
    monkeypatch.setattr(_questions, "_READY_PAUSE_S", 6.0)
    with pytest.raises(DeadlineExceededError, match=reason) as caught:
        driver.ask("wait_ready", model, timeout=5)

    assert ((model or ""), server.address) == (caught.value.model, caught.value.target)


@pytest.mark.xfail(reason="U5: the last question's own deadline is told instead", strict=True)
def test_who_says_nothing_in_time_is_told_of_likewise(driver: Driver, server: LinearServer) -> None:
    """The last question may have little time."""
    held = Gate()
    server.prepare = held
    with pytest.raises(DeadlineExceededError) as caught:
        driver.ask("wait_ready", "plane", timeout=0.2)
    held.open()

    assert "model 'plane' was not ready within 0.2 s" in str(caught.value)


def test_a_server_that_is_started_later_is_waited_for(connect: Connect) -> None:
    """As in a script that has just started it."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
    driver = connect(address)
    with pytest.raises(DeadlineExceededError, match="the server was not ready within"):
        driver.ask("wait_ready", timeout=0.15)
    future = driver.call("wait_ready", timeout=PATIENCE_S)
    with serving(address):
        assert future.result(PATIENCE_S) is None


def test_what_waiting_does_not_mend_is_told_at_once(driver: Driver, server: LinearServer) -> None:
    """Such as a server that lets nobody in."""
    server.prepare = lambda context: context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
    with pytest.raises(RemoteError, match="who are you"):
        driver.ask("wait_ready")
    assert len(server.calls) == 1


# Counters and models.


def test_statistics_are_those_of_one_model_or_of_all(driver: Driver, server: LinearServer) -> None:
    """As the server counts."""
    driver.ask("predict", "plane", row(1))
    (plane,) = driver.ask("statistics", "plane", 1).model_stats
    everything = driver.ask("statistics").model_stats

    assert ("plane", 1) == (plane.name, plane.inference_count)
    assert set(server.models) == {each.name for each in everything}


def test_models_are_those_of_the_repository(driver: Driver, server: LinearServer) -> None:
    """With their states."""
    models = driver.ask("models").models

    assert set(server.models) == {model.name for model in models}
    assert {"READY"} == {model.state for model in models}


def test_models_are_loaded_and_unloaded(driver: Driver, server: LinearServer) -> None:
    """What is asked of them afterwards is answered so."""
    assert driver.ask("predict", "plane", row(1)).item() == 1
    assert driver.ask("unload", "plane") is None
    with pytest.raises(NotFoundError):
        driver.ask("predict", "plane", row(1))
    server.shelf["plane"] = LinearModel(
        [("x", "FP32", (-1, 2))], [("y", "FP32", (-1, 1))], lambda x: [x[:, :1] * 100]
    )
    assert driver.ask("load", "plane") is None

    assert driver.ask("predict", "plane", [[1, 0]]).item() == 100


def test_a_model_that_cannot_be_loaded_is_told_with_the_server_s_words(
    driver: Driver, server: LinearServer
) -> None:
    """Where the server has such calls, its word counts."""
    with pytest.raises(NotFoundError, match="no model 'absent' to load"):
        driver.ask("load", "absent")
    server.orders = (grpc.StatusCode.FAILED_PRECONDITION, "models are fixed here")
    for order in ("load", "unload"):
        with pytest.raises(RemoteError, match="models are fixed here"):
            driver.ask(order, "plane")


ORDERS = {"load": "RepositoryModelLoad", "unload": "RepositoryModelUnload"}
CALLS: dict[str, tuple[str, tuple[object, ...]]] = {
    "config": ("ModelConfig", ("plane",)),
    "model_metadata": ("ModelMetadata", ("plane",)),
    "server_metadata": ("ServerMetadata", ()),
    "statistics": ("ModelStatistics", ()),
    "models": ("RepositoryIndex", ()),
    "load": ("RepositoryModelLoad", ("plane",)),
    "unload": ("RepositoryModelUnload", ("plane",)),
    "health": ("ServerReady", ()),
    "wait_ready": ("ServerReady", ()),
    "predict": ("ModelInfer", ("plane", row(1))),
}


@pytest.mark.parametrize(("method", "called"), CALLS.items(), ids=CALLS)
def test_a_call_that_the_server_does_not_have_is_named(
    driver: Driver, server: LinearServer, method: str, called: tuple[str, tuple[object, ...]]
) -> None:
    """With the server's address: it says no more itself than that a method is not found."""
    name, arguments = called
    server.absent, server.absence = {name}, "Method not found!"
    with pytest.raises(UnsupportedError, match=f"{server.address} does not offer {name}: ") as told:
        driver.ask(method, *arguments)

    assert told.value.code is grpc.StatusCode.UNIMPLEMENTED
    assert told.value.target == server.address


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("code", ["NOT_FOUND", "UNKNOWN"])
def test_an_order_that_means_something_else_to_the_server_is_unsupported(
    driver: Driver, server: LinearServer, order: str, code: str
) -> None:
    """KServe has calls of these names with other messages, and no index: it sees no name."""
    server.orders = (grpc.StatusCode[code], "Model with name  does not exist.")
    server.absent, server.absence = {"RepositoryIndex"}, "Method not found!"
    with pytest.raises(
        UnsupportedError, match=f"{server.address} does not offer .*{ORDERS[order]}"
    ):
        driver.ask(order, "plane")


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_that_fails_on_a_server_that_has_them_is_told_as_it_is(
    driver: Driver, server: LinearServer, order: str
) -> None:
    """The index tells the two apart."""
    server.orders = (grpc.StatusCode.UNKNOWN, "the disk is full")
    with pytest.raises(ServerFaultError, match="the disk is full"):
        driver.ask(order, "plane")


def test_a_message_that_is_too_large_for_the_server_is_not_called_overload(
    connect: Connect,
) -> None:
    """The same call can never succeed, so it is not made again."""
    with serving(max_receive_message_length=1 << 16) as small:
        driver = connect(small.address, retry=Retry())
        driver.ask("predict", "plane", row(1))
        with pytest.raises(InvalidInputError, match=r"too large .*, send fewer rows") as told:
            driver.ask("predict", "plane", np.ones((20_000, 3)))
        assert told.value.attempts == 1
        assert "larger than max" in str(told.value)
        assert driver.ask("predict", "plane", row(2)).item() == 2


# Describing a model.


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


# Intervals.


def test_an_interval_has_a_prediction_its_bounds_and_their_coverage(driver: Driver) -> None:
    """By the names that the contract gives them."""
    for _ in range(2):
        interval = driver.ask("predict_interval", "line", [32.0, 212.0])
        assert isinstance(interval, Interval)
        np.testing.assert_allclose(interval.prediction, [[0], [100]], atol=1e-4)
        np.testing.assert_allclose(interval.lower, [[-1.5], [98.5]], atol=1e-4)
        np.testing.assert_allclose(interval.upper, [[1.5], [101.5]], atol=1e-4)
        assert interval.coverage == pytest.approx(0.9)
        prediction, lower, upper, _ = interval
        assert (lower < prediction).all()
        assert (prediction < upper).all()


def test_intervals_are_shared_like_predictions(
    driver: Driver, server: LinearServer, gate: Gate, patient: None
) -> None:
    """By those who ask for them at the same time."""
    known(server, driver, "line", [32.0], outputs=["y", "lower", "upper"])
    driver.call("predict_interval", "line", [32.0])
    gate.wait_for(1)
    group = driver.group("line", outputs=["y", "lower", "upper"])
    assert group is not None
    futures = [driver.call("predict_interval", "line", [32 + 1.8 * n]) for n in range(4)]
    from tests.support.server import eventually

    assert eventually(lambda: len(group.pending) == 4)
    gate.open()
    intervals = [future.result(PATIENCE_S) for future in futures]

    np.testing.assert_allclose([each.prediction.item() for each in intervals], range(4), atol=1e-4)
    assert [1, 4] == [len(rows) for rows in rows_of(server)]


@pytest.mark.parametrize("lacking", ["contract", "interval", "config"])
def test_a_model_without_an_interval_says_so(
    driver: Driver, server: LinearServer, lacking: str
) -> None:
    """And why; nothing is predicted."""
    contract = thermometer_contract()
    if lacking == "interval":
        contract.ClearField("interval")
        contract.tensors.ClearField("lower")
        contract.tensors.ClearField("upper")
    elif lacking == "config":
        server.absent = {"ModelConfig"}
    server.models["line"].contract = "" if lacking == "contract" else contracts.dumps(contract)
    reason = {
        "contract": "model 'line' at .* carries no contract",
        "interval": "model 'line' at .* has no prediction interval: ask predict",
        "config": "cannot send contracts: it has no ModelConfig",
    }[lacking]
    with pytest.raises(NoContractError, match=reason):
        driver.ask("predict_interval", "line", [32.0])

    assert server.requests == []


def test_an_interval_has_one_timeout_for_all_that_it_takes(
    driver: Driver, server: LinearServer, gate: Gate
) -> None:
    """What it asks about the model included."""
    error = driver.call("predict_interval", "line", [32.0], timeout=0.2).exception(PATIENCE_S)
    gate.open()

    assert isinstance(error, DeadlineExceededError)
    assert isinstance(error, IsothermError)
