"""Streams, and the calls that are no inference, under the same faults."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from isotherm.client import DeadlineExceededError, IsothermError
from tests.faults.conftest import Connect
from tests.faults.drivers import DEADLINE_S, MODEL, TOLERANCE_S
from tests.support.proxy import Proxy
from tests.support.relay import Way
from tests.support.server import eventually

LONG_S = 10.0
BATCHES = 100
ROWS = 64

CALLS: dict[str, tuple[Any, ...]] = {
    "predict": (MODEL, [1.0]),
    "predict_interval": (MODEL, [1.0]),
    "feedback": (MODEL, [1.0], [1.0]),
    "contract": (MODEL,),
    "config": (MODEL,),
    "model_metadata": (MODEL,),
    "server_metadata": (),
    "health": (MODEL,),
    "statistics": (MODEL,),
    "models": (),
    "load": (MODEL,),
    "unload": (MODEL,),
}


def test_no_method_outlives_its_deadline(connect: Connect, proxy: Proxy) -> None:
    """In a network that swallows everything; each is called at the same time."""
    proxy.swallow()
    driver = connect(proxy.address)
    begin = time.monotonic()
    futures = {
        method: driver.call(method, *arguments, timeout=DEADLINE_S)
        for method, arguments in CALLS.items()
    }
    errors = {method: future.exception(LONG_S) for method, future in futures.items()}
    took_s = time.monotonic() - begin

    assert {method: type(error) for method, error in errors.items()} == dict.fromkeys(
        CALLS, DeadlineExceededError
    )
    assert took_s < DEADLINE_S + TOLERANCE_S


def test_waiting_for_a_server_ends_when_it_is_there(connect: Connect, proxy: Proxy) -> None:
    """Not before, and within a second."""
    proxy.refuse()
    driver = connect(proxy.address)
    early = driver.call("wait_ready", MODEL, timeout=DEADLINE_S).exception(LONG_S)
    waiting = driver.call("wait_ready", MODEL, timeout=LONG_S)
    proxy.heal()
    begin = time.monotonic()
    waiting.result(LONG_S)

    assert isinstance(early, DeadlineExceededError)
    assert time.monotonic() - begin < TOLERANCE_S


def batches(broken: Iterator[object]) -> Iterator[np.ndarray]:
    """Make batches of numbers of their own; between them, something breaks."""
    for number in range(BATCHES):
        next(broken, None)
        start = number * ROWS
        yield np.arange(start, start + ROWS, dtype=np.float32).reshape(-1, 1)


def test_a_stream_outlives_its_connections(connect: Connect, proxy: Proxy) -> None:
    """Every batch comes back, once and in order."""

    def resets() -> Iterator[None]:
        for number in range(BATCHES):
            if number % 10 == 5:
                proxy.reset()
            yield

    driver = connect(proxy.address)
    results = driver.stream(batches(resets()), timeout=LONG_S).result(6 * LONG_S)

    np.testing.assert_array_equal(
        np.concatenate(results)[:, 0], 2 * np.arange(BATCHES * ROWS, dtype=np.float32)
    )


def test_a_stream_ends_at_the_deadline_of_a_batch(connect: Connect, proxy: Proxy) -> None:
    """With the error of the first batch that had no answer."""

    def swallowing() -> Iterator[None]:
        for number in range(BATCHES):
            if number == 20:
                proxy.swallow()
            yield

    driver = connect(proxy.address)
    begin = time.monotonic()
    error = driver.stream(batches(swallowing()), timeout=DEADLINE_S).exception(LONG_S)

    assert isinstance(error, DeadlineExceededError)
    assert time.monotonic() - begin < LONG_S


def test_closing_waits_for_no_answer(connect: Connect, proxy: Proxy) -> None:
    """Calls that hang in a half-open connection end at once, and say that the client was closed."""
    driver = connect(proxy.address)
    (warm,) = driver.ask([1.0], timeout=LONG_S)
    proxy.swallow(Way.ANSWERS)
    futures = [driver.predict(value, timeout=LONG_S) for value in range(16)]
    assert eventually(lambda: proxy.swallowed[Way.ANSWERS] > 0)
    begin = time.monotonic()
    driver.close_client()
    errors = [future.result(LONG_S).error for future in futures]

    assert warm.error is None
    assert all(isinstance(error, IsothermError) for error in errors)
    assert not any(isinstance(error, DeadlineExceededError) for error in errors)
    assert time.monotonic() - begin < TOLERANCE_S


def test_closing_ends_calls_on_connections_that_were_given_up(
    connect: Connect, proxy: Proxy
) -> None:
    """Short calls have found a connection dead; one with time left still hangs on it."""
    driver = connect(proxy.address)
    (warm,) = driver.ask([1.0], timeout=LONG_S)
    proxy.swallow()
    patient = [driver.predict(value, timeout=6 * LONG_S) for value in range(16)]
    assert eventually(lambda: proxy.swallowed[Way.REQUESTS] > 0)
    for _ in range(4):
        driver.ask(range(16), timeout=DEADLINE_S)
    begin = time.monotonic()
    driver.close_client()
    errors = [future.result(2 * LONG_S).error for future in patient]

    assert warm.error is None
    assert all(isinstance(error, IsothermError) for error in errors)
    assert time.monotonic() - begin < TOLERANCE_S
