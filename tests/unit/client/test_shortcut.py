"""A lone caller's second array of a shape goes a shorter way: nobody can tell by what it gets."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest

from isotherm.client import (
    ClosedError,
    DeadlineExceededError,
    InvalidInputError,
    NotFoundError,
    Prediction,
    Retry,
    ServerFaultError,
    UnavailableError,
    _shortcut,
)
from isotherm.client._plain import Plain
from isotherm.v1 import contract as contracts
from isotherm.v1.contract_pb2 import NON_FINITE_ACCEPT
from tests.unit.client.conftest import Connect
from tests.unit.client.driving import PATIENCE_S, Driver, Gate
from tests.unit.client.linear import LinearModel, LinearServer, thermometer_contract

ROW = np.array([[1, 2, 3]], np.float32)


@pytest.fixture(name="driver")
def _driver(connect: Connect, server: LinearServer) -> Driver:
    """A client whose next call with one row goes the short way."""
    driver = connect(retry=Retry(initial_backoff_s=0.001))
    for model, x in (("plane", ROW), ("line", np.array([[32]], np.float32))):
        for _ in range(3):
            driver.ask("predict", model, x)
    server.calls.clear()
    server.requests.clear()
    return driver


@pytest.mark.parametrize("traced", [False, True])
def test_the_short_way_is_taken_where_nobody_traces(
    driver: Driver, traced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no spans. The other tests here would prove nothing if they went the long way."""
    ways = []
    member = _shortcut.Shortcuts.member

    def seen(*arguments: Any) -> Any:
        found = member(*arguments)
        ways.append(found is not None)
        return found

    monkeypatch.setattr(_shortcut.Shortcuts, "member", seen)
    if traced:
        monkeypatch.setattr(_shortcut, "TRACING", "sys")
    driver.ask("predict", "plane", ROW)

    assert ways == [not traced]


def test_the_short_way_is_left_by_long_rows_and_by_what_the_server_has_changed() -> None:
    """64 KiB of rows are a batch of their own; a group whose model has changed ends."""
    plain = Plain("x", "FP32", 4096, None)
    group: Any = SimpleNamespace(served=SimpleNamespace(plain=plain, shared_rows=64), stale=False)
    conversations: Any = SimpleNamespace(timeout_s=1.0, closed=False, hedges=None)
    shortcuts = _shortcut.Shortcuts(conversations)
    shortcuts.remember(group, "wide", None, None)

    def taken(rows: int) -> bool:
        x = np.zeros((rows, 4096), np.float32)
        return shortcuts.member("wide", x, None, None, None) is not None

    assert [taken(rows) for rows in (1, 4, 5)] == [True, True, False]
    group.stale = True
    assert not taken(1)


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(ROW * 2, id="as before"),
        pytest.param(ROW.astype(np.float64), id="another type"),
        pytest.param(ROW.astype(">f4"), id="another byte order"),
        pytest.param(ROW.tolist(), id="a list"),
        pytest.param(
            np.asfortranarray(np.arange(12, dtype=np.float32).reshape(4, 3)), id="by rows"
        ),
        pytest.param(np.arange(24, dtype=np.float32).reshape(4, 6)[:, ::2], id="not contiguous"),
        pytest.param(np.ones((200, 3), np.float32), id="many rows"),
        pytest.param(np.empty((0, 3), np.float32), id="no rows"),
        pytest.param(np.ma.masked_invalid(ROW), id="another class"),
        pytest.param(np.array([[np.nan, np.inf, -0.0]], np.float32), id="not finite"),
    ],
)
def test_every_kind_of_array_is_answered_as_the_first_time(driver: Driver, x: Any) -> None:
    """Whichever way it goes; the same one may go another the next time."""
    expected = np.asarray(x, np.float32).sum(axis=1, keepdims=True)
    for _ in range(3):
        answer = driver.ask("predict", "plane", x)
        assert answer.dtype == np.float32
        assert not answer.flags.writeable
        np.testing.assert_array_equal(answer, expected)


@pytest.mark.parametrize("x", [ROW[:, :2], ROW[0], np.float32(1), np.ones((1, 1, 3), np.float32)])
def test_arrays_that_do_not_fit_are_refused_as_the_first_time(
    driver: Driver, server: LinearServer, x: Any
) -> None:
    """Here, with the model's shape."""
    for _ in range(2):
        with pytest.raises(InvalidInputError, match=r"model 'plane': input 'x'"):
            driver.ask("predict", "plane", x)
    assert server.requests == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_the_contract_forbids_is_not_sent(
    driver: Driver, server: LinearServer, value: float
) -> None:
    """However short the way is."""
    for _ in range(2):
        with pytest.raises(InvalidInputError, match=r"row 0 of input .x. has .* for .reading."):
            driver.ask("predict", "line", np.array([[value]], np.float32))
    assert server.requests == []


def test_a_row_that_the_contract_accepts_is_sent(driver: Driver, server: LinearServer) -> None:
    """Also where it is not finite."""
    contract = thermometer_contract()
    contract.non_finite = NON_FINITE_ACCEPT
    server.models["accepting"] = LinearModel(
        server.models["line"].inputs,
        server.models["line"].outputs,
        server.models["line"].function,
        contracts.dumps(contract),
    )
    for _ in range(3):
        prediction = driver.ask("predict", "accepting", np.array([[np.nan]], np.float32))
        assert np.isnan(prediction.y).all()


def test_a_missing_cell_goes_the_short_way_where_the_contract_takes_it(
    driver: Driver, server: LinearServer
) -> None:
    """One beside it that must not be missing, and infinity, are found there as well."""
    taken = np.array([[np.nan, np.nan, np.nan, 5]], np.float32)
    for _ in range(3):
        assert driver.ask("predict", "rides", taken).tolist() == [[7775]]
    server.requests.clear()
    for column, value in ((3, np.nan), (1, np.inf)):
        refused = taken.copy()
        refused[0, column] = value
        with pytest.raises(InvalidInputError, match="was not trained on such values"):
            driver.ask("predict", "rides", refused)
    assert server.requests == []


def test_outputs_and_versions_are_kept_apart(driver: Driver) -> None:
    """Each has its own way."""
    x = np.array([[212]], np.float32)
    for _ in range(3):
        assert isinstance(driver.ask("predict", "line", x), Prediction)
        assert driver.ask("predict", "line", x, outputs="y").shape == (1, 1)
        assert list(driver.ask("predict", "line", x, outputs=["upper", "y"])) == ["upper", "y"]
        assert driver.ask("predict", "line", x, outputs="lower", version=1).item() < 99
        with pytest.raises(NotFoundError):
            driver.ask("predict", "line", x, version=2)


def test_failures_are_repeated_and_counted(driver: Driver, server: LinearServer) -> None:
    """The first attempt is the first attempt."""
    server.failures = [grpc.StatusCode.UNAVAILABLE] * 4
    assert driver.ask("predict", "plane", ROW).item() == 6
    assert len(server.requests) == 5
    server.failures = [grpc.StatusCode.UNAVAILABLE] * 5
    error = driver.call("predict", "plane", ROW).exception(PATIENCE_S)

    assert isinstance(error, UnavailableError)
    assert error.attempts == 5
    assert len(server.requests) == 10


@pytest.mark.parametrize("fault", [InvalidInputError, ServerFaultError])
def test_a_refusal_is_told_and_the_way_stays_free(
    driver: Driver, server: LinearServer, fault: type[Exception]
) -> None:
    """Asked once, as the model has not changed."""
    code = "INVALID_ARGUMENT" if fault is InvalidInputError else "INTERNAL"
    for _ in range(2):
        server.failures = [grpc.StatusCode[code]]
        error = driver.call("predict", "plane", ROW).exception(PATIENCE_S)
        assert isinstance(error, fault)
        assert getattr(error, "model", "") == "plane"
    assert len(server.requests) == 2
    assert driver.ask("predict", "plane", ROW).item() == 6


def test_another_model_of_the_name_is_noticed(driver: Driver, server: LinearServer) -> None:
    """By its refusal, by its version, or as it is not there any more."""
    server.models["plane"] = LinearModel(
        [("x", "FP64", (-1, 3))], [("y", "FP64", (-1, 1))], lambda x: [x[:, :1] * 100]
    )
    for _ in range(3):
        assert driver.ask("predict", "plane", ROW).dtype == np.float64
    server.models["plane"].version = "2"
    for _ in range(3):
        assert driver.ask("predict", "plane", ROW).item() == 100
    assert server.calls.count("ModelMetadata") == 2
    del server.models["plane"]
    for _ in range(2):
        with pytest.raises(NotFoundError):
            driver.ask("predict", "plane", ROW)


def test_its_time_is_its_own(driver: Driver, server: LinearServer, gate: Gate) -> None:
    """And a time that is none is refused."""
    error = driver.call("predict", "plane", ROW, timeout=0.1).exception(PATIENCE_S)
    gate.open()
    assert isinstance(error, DeadlineExceededError)
    for timeout in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(InvalidInputError, match="expected a positive number of seconds"):
            driver.ask("predict", "plane", ROW, timeout=timeout)

    assert driver.ask("predict", "plane", ROW).item() == 6


def test_the_array_is_free_once_the_call_has_returned(driver: Driver) -> None:
    """Nothing of it is kept."""
    x = ROW.copy()
    first = driver.ask("predict", "plane", x)
    x[:] = 100
    second = driver.ask("predict", "plane", x)

    assert [6, 300] == [first.item(), second.item()]


def test_a_closed_client_says_so(driver: Driver) -> None:
    """As at any other time."""
    driver.close()
    with pytest.raises(ClosedError):
        driver.ask("predict", "plane", ROW)


def test_who_comes_while_one_is_out_alone_goes_when_it_is_back(
    driver: Driver, server: LinearServer, gate: Gate
) -> None:
    """All in one request."""
    first = driver.call("predict", "plane", ROW)
    gate.wait_for(1)
    others = [driver.call("predict", "plane", ROW * factor) for factor in (2, 3)]
    # Shorter than they could wait until others look for them.
    time.sleep(0.02)
    gate.open()

    assert first.result(PATIENCE_S) == [[6]]
    assert [float(other.result(PATIENCE_S)[0, 0]) for other in others] == [12, 18]
    assert len(server.requests) <= 3
