"""Questions about a server and its models, and orders to it, by both clients."""

from __future__ import annotations

import threading

import grpc
import numpy as np
import pytest

from isotherm.client import (
    DeadlineExceededError,
    InvalidInputError,
    NotFoundError,
    RemoteError,
    Retry,
    ServerFaultError,
    UnsupportedError,
    _questions,
)
from tests.support.ports import free_port
from tests.unit.client.conftest import Connect
from tests.unit.client.driving import PATIENCE_S, Driver, Gate
from tests.unit.client.linear import LinearModel, LinearServer, serving
from tests.unit.client.sharing import row


@pytest.fixture(name="driver")
def _driver(connect: Connect) -> Driver:
    return connect()


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
    address = f"127.0.0.1:{free_port()}"
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
