"""Callers who share a request when something is wrong: one of them, the answer or the model."""

from __future__ import annotations

import math
from concurrent.futures import Future
from typing import Any

import grpc
import numpy as np
import pytest

from isotherm.client import (
    InvalidInputError,
    IsothermError,
    NotFoundError,
    Retry,
    ServerFaultError,
    UnavailableError,
)
from isotherm.v1 import contract as contracts
from isotherm.v1.contract_pb2 import Contract, Feature, Target, Tensors
from tests.unit.client.conftest import Connect
from tests.unit.client.driving import PATIENCE_S, Driver, Gate
from tests.unit.client.linear import LinearModel, LinearServer
from tests.unit.client.sharing import known, row, rows_of

pytestmark = pytest.mark.usefixtures("patient")

CALLERS = 16
POISON = 666.0
# To halve until one is left, and what was held before.
HALVING = 1 + 1 + 2 * int(math.log2(CALLERS))


@pytest.fixture(name="driver")
def _driver(connect: Connect, server: LinearServer, gate: Gate) -> Driver:
    """A client that has a request for `plane` on its way, so that all others share the next."""
    server.models["plane"].max_batch_size = 64
    driver = known(server, connect(retry=Retry(attempts=1)), "plane", row(0))
    driver.predict("plane", row(0))
    gate.wait_for(1)
    return driver


def gather(driver: Driver, numbers: list[float]) -> list[Future[Any]]:
    """Have callers wait for their turn."""
    return [driver.predict("plane", row(number)) for number in numbers]


def errors_of(futures: list[Future[Any]]) -> list[BaseException | None]:
    """Return how calls ended."""
    return [future.exception(PATIENCE_S) for future in futures]


@pytest.mark.parametrize("place", [0, 7, CALLERS - 1])
@pytest.mark.parametrize("kind", ["threads", "tasks"])
@pytest.mark.parametrize("fault", [InvalidInputError, ServerFaultError])
def test_who_has_a_row_that_is_refused_or_breaks_the_model_fails_alone(
    driver: Driver, server: LinearServer, gate: Gate, place: int, fault: type[IsothermError]
) -> None:
    """The others are answered, and few requests are needed to find out who it is."""
    poisoned = lambda x: bool((x == POISON).any())  # noqa: E731
    if fault is InvalidInputError:
        server.refuses = poisoned
    else:
        server.breaks = poisoned
    numbers = [float(n) for n in range(CALLERS)]
    numbers[place] = POISON
    futures = gather(driver, numbers)
    gate.open()
    errors = errors_of(futures)

    assert isinstance(errors.pop(place), fault)
    assert [None] * (CALLERS - 1) == errors
    assert [future.result().item() for future in futures if not future.exception()] == [
        number for number in numbers if number != POISON
    ]
    assert CALLERS == len(rows_of(server)[1])
    assert len(server.requests) <= HALVING


def test_several_who_are_refused_fail_and_nobody_else(
    driver: Driver, server: LinearServer, gate: Gate
) -> None:
    """Each with an error of its own."""
    server.refuses = lambda x: bool((x == POISON).any())
    numbers = [POISON if n in {2, 3, 11} else float(n) for n in range(CALLERS)]
    futures = gather(driver, numbers)
    gate.open()
    errors = errors_of(futures)

    assert [n in {2, 3, 11} for n in range(CALLERS)] == [error is not None for error in errors]
    refused = [error for error in errors if error is not None]
    assert len({id(error) for error in refused}) == 3
    assert all(isinstance(error, InvalidInputError) for error in refused)


def test_a_server_that_breaks_on_everything_is_not_asked_by_each(
    connect: Connect, server: LinearServer, gate: Gate
) -> None:
    """The budget of the retries bounds how often a request is halved."""
    server.models["plane"].max_batch_size = 64
    driver = known(server, connect(retry=Retry(budget=3)), "plane", row(0))
    driver.predict("plane", row(0))
    gate.wait_for(1)
    server.breaks = lambda _: True
    futures = gather(driver, [float(n) for n in range(CALLERS)])
    gate.open()
    errors = errors_of(futures)

    assert all(isinstance(error, ServerFaultError) for error in errors)
    assert len(server.requests) <= 2 + 2 * 3


def test_each_caller_has_an_error_of_its_own(
    driver: Driver, server: LinearServer, gate: Gate
) -> None:
    """An exception that two raise grows both their tracebacks."""
    futures = gather(driver, [1.0, 2.0, 3.0])
    server.failures = [grpc.StatusCode.UNAVAILABLE] * 2
    gate.open()
    errors = errors_of(futures)

    assert all(isinstance(error, UnavailableError) for error in errors)
    assert len({id(error) for error in errors}) == 3
    for error in errors:
        assert isinstance(error, UnavailableError)
        assert ("plane", server.address) == (error.model, error.target)
        assert error.attempts == 1
        assert isinstance(error.__cause__, grpc.RpcError)


def test_shared_requests_are_repeated_like_others(
    connect: Connect, server: LinearServer, gate: Gate
) -> None:
    """Nobody notices."""
    driver = known(server, connect(retry=Retry(initial_backoff_s=0.001)), "plane", row(0))
    driver.predict("plane", row(0))
    gate.wait_for(1)
    futures = gather(driver, [1.0, 2.0, 3.0])
    server.failures = [grpc.StatusCode.UNAVAILABLE] * 3
    gate.open()

    assert [1, 2, 3] == [future.result(PATIENCE_S).item() for future in futures]


def test_a_row_that_the_contract_forbids_is_found_before_anything_is_sent(
    connect: Connect, server: LinearServer, gate: Gate
) -> None:
    """Its caller is told of its own row; the others share one request without it."""
    driver = known(server, connect(), "line", [32.0])
    driver.predict("line", [32.0])
    gate.wait_for(1)
    futures = [
        driver.predict("line", x)
        for x in ([32.0], [212.0, math.nan], [50.0, 50.0], [math.inf], [212.0])
    ]
    gate.open()
    errors = errors_of(futures)

    assert [None, InvalidInputError, None, InvalidInputError, None] == [
        error and type(error) for error in errors
    ]
    assert "row 1 of input 'x' has nan for 'reading'" in str(errors[1])
    assert "row 0 of input 'x' has inf for 'reading'" in str(errors[3])
    np.testing.assert_allclose([[10], [10]], futures[2].result().y, atol=1e-4)
    assert rows_of(server)[1:] == [[[32.0], [50.0], [50.0], [212.0]]]


def test_where_all_rows_are_forbidden_nothing_is_sent(
    connect: Connect, server: LinearServer, gate: Gate
) -> None:
    """The server would refuse them."""
    driver = known(server, connect(), "line", [32.0])
    driver.predict("line", [32.0])
    gate.wait_for(1)
    futures = [driver.predict("line", [math.nan]) for _ in range(3)]
    gate.open()

    assert all(isinstance(error, InvalidInputError) for error in errors_of(futures))
    assert len(server.requests) == 1


@pytest.mark.parametrize("model", ["one output", "several outputs"])
def test_an_answer_that_does_not_have_the_rows_is_asked_for_one_by_one(
    connect: Connect, server: LinearServer, gate: Gate, model: str
) -> None:
    """A model may say that it takes rows one by one, and not do so."""

    def first(x):
        return x[:1].sum(axis=1, keepdims=True)

    if model == "one output":
        server.models["odd"] = LinearModel(
            [("x", "FP32", (-1, 3))], [("y", "FP32", (-1, 1))], lambda x: [first(x)]
        )
    else:
        server.models["odd"] = LinearModel(
            [("x", "FP32", (-1, 3))],
            [("all", "FP32", (-1, 3)), ("y", "FP32", (-1, 1))],
            lambda x: [x, first(x)],
        )
    driver = known(server, connect(), "odd", row(0))
    driver.predict("odd", row(0))
    gate.wait_for(1)
    futures = [driver.predict("odd", row(n)) for n in range(4)]
    gate.open()
    answers = [future.result(PATIENCE_S) for future in futures]

    assert [0, 1, 2, 3] == [
        (answer if model == "one output" else answer.y).item() for answer in answers
    ]
    assert [1, 4, 1, 1, 1, 1] == [len(rows) for rows in rows_of(server)]


def test_a_model_that_has_gone_is_not_found_by_any_of_them(
    driver: Driver, server: LinearServer, gate: Gate
) -> None:
    """And each is told so itself."""
    futures = gather(driver, [1.0, 2.0, 3.0])
    del server.models["plane"]
    gate.open()
    errors = errors_of(futures)

    assert all(isinstance(error, NotFoundError) for error in errors)
    assert len({id(error) for error in errors}) == 3


def test_another_model_of_the_name_is_asked_as_it_wants_to_be(
    driver: Driver, server: LinearServer, gate: Gate
) -> None:
    """Its input has another name and type: what waits for the old one is made anew."""
    futures = gather(driver, [1.0, 2.0, 3.0])
    server.models["plane"] = LinearModel(
        [("x", "FP64", (-1, 3))], [("y", "FP64", (-1, 1))], lambda x: [x[:, :1] * 100]
    )
    gate.open()

    assert [100, 200, 300] == [future.result(PATIENCE_S).item() for future in futures]
    assert futures[0].result().dtype == np.float64


def _weather(version: str, *names: str) -> LinearModel:
    contract = Contract(
        schema_version=1,
        model_name="weather",
        features=[Feature(name=name) for name in names],
        targets=[Target(name="y")],
        tensors=Tensors(input="x", prediction="y"),
    )
    # Ten for each degree, whatever else there is.
    weights = np.array([[10.0 if name == "degrees" else 1.0] for name in names], np.float32)
    return LinearModel(
        [("x", "FP32", (-1, len(names)))],
        [("y", "FP32", (-1, 1))],
        lambda x: [x @ weights],
        contracts.dumps(contract),
        version,
    )


def test_a_new_version_with_its_columns_in_another_order_gets_them_so(
    connect: Connect, server: LinearServer, gate: Gate
) -> None:
    """It would answer, and wrongly: nothing in the wire's types tells the columns apart."""
    server.models["weather"] = _weather("1", "degrees", "humidity")
    driver = known(server, connect(), "weather", {"degrees": [1.0], "humidity": [2.0]})
    first = driver.predict("weather", {"degrees": [9.0], "humidity": [2.0]})
    gate.wait_for(1)
    futures = [driver.predict("weather", {"humidity": [5.0], "degrees": [n]}) for n in range(3)]
    server.models["weather"] = _weather("2", "humidity", "degrees")
    gate.open()

    assert first.result(PATIENCE_S).item() == 92
    assert [5, 15, 25] == [future.result(PATIENCE_S).item() for future in futures]
    assert driver.ask("predict", "weather", {"humidity": [1.0], "degrees": [4.0]}).item() == 41


def test_a_new_version_of_the_same_columns_is_asked_no_more_than_once(
    connect: Connect, server: LinearServer, gate: Gate
) -> None:
    """Arrays have no names: they are meant as they are."""
    server.models["weather"] = _weather("1", "degrees", "humidity")
    driver = known(server, connect(), "weather", [[1.0, 2.0]])
    driver.predict("weather", [[1.0, 2.0]])
    gate.wait_for(1)
    futures = [driver.predict("weather", [[n, 5.0]]) for n in range(3)]
    server.models["weather"] = _weather("2", "degrees", "humidity")
    gate.open()

    assert [5, 15, 25] == [future.result(PATIENCE_S).item() for future in futures]
    assert [1, 3] == [len(rows) for rows in rows_of(server)]
