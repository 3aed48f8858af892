"""`predict_stream`: batches in order, few at a time, and what happens when it ends early."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from typing import Any

import grpc
import numpy as np
import pytest

from isotherm.client import (
    AsyncClient,
    CallCancelledError,
    ClosedError,
    DeadlineExceededError,
    InvalidInputError,
    NotFoundError,
    Prediction,
    Retry,
    ServerFaultError,
)
from tests.support.server import eventually
from tests.unit.client.conftest import Connect
from tests.unit.client.driving import LONG_S, PATIENCE_S, Driver, Gate, Tasks
from tests.unit.client.linear import LinearServer
from tests.unit.client.sharing import known, row, rows_of


class Batches:
    """Endless batches of one row each, and how many of them were taken."""

    def __init__(self) -> None:
        self.taken = 0

    def __iter__(self) -> Iterator[Any]:
        for number in count():
            self.taken += 1
            yield row(number)


@pytest.fixture(name="driver")
def _driver(connect: Connect, server: LinearServer) -> Driver:
    """A client that knows `plane`."""
    driver = connect(retry=Retry(initial_backoff_s=0.001), timeout=LONG_S)
    return known(server, driver, "plane", row(0))


def test_results_come_in_the_order_of_the_batches(driver: Driver, server: LinearServer) -> None:
    """Each as `predict` would give it, whatever its size."""
    batches = [np.full((size, 3), size, np.float32) for size in (1, 5, 8, 2, 0, 3)]
    results = list(driver.stream("plane", iter(batches)))

    assert [[[3.0 * len(x)]] * len(x) for x in batches] == [each.tolist() for each in results]


def test_a_late_answer_does_not_let_others_go_ahead(driver: Driver, server: LinearServer) -> None:
    """Those after it are on their way, and wait."""
    held = Gate()
    server.script = [held]
    stream = driver.stream("plane", [row(n) for n in range(4)], in_flight=4)
    # The first one is answered when the others have been for long.
    server.script += [lambda _: None, lambda _: None, lambda _: held.open()]

    assert [0, 1, 2, 3] == [each.item() for each in stream]


@pytest.mark.parametrize("in_flight", [1, 3])
def test_no_more_batches_are_read_ahead_than_may_be_in_flight(
    driver: Driver, server: LinearServer, in_flight: int
) -> None:
    """An endless iterator is as good as any."""
    batches = Batches()
    stream = driver.stream("plane", batches, in_flight=in_flight)
    ahead = []
    for number, result in enumerate(islice(stream, 20)):
        assert result.item() == number
        ahead.append(batches.taken - number)
    stream.close()

    assert max(ahead) <= in_flight
    assert len(server.requests) <= 20 + in_flight


def test_batches_are_on_their_way_at_the_same_time(
    driver: Driver, server: LinearServer, gate: Gate
) -> None:
    """As many as asked for, and no more: nothing is read before the stream is."""
    batches = Batches()
    stream = driver.stream("plane", batches, in_flight=3)
    assert batches.taken == 0
    results: list[Any] = []
    future = _later(lambda: results.extend(islice(stream, 5)))
    gate.wait_for(3)
    taken = batches.taken
    gate.open()
    future.result(PATIENCE_S)
    stream.close()

    assert taken == 3
    assert [0, 1, 2, 3, 4] == [each.item() for each in results]


def test_small_batches_that_follow_each_other_travel_together(
    driver: Driver, server: LinearServer
) -> None:
    """A quarter of those that may be read ahead, and no more rows than the model takes."""
    sizes = [1, 1, 1, 1, 3, 3, 3, 9, 1, 1]
    batches = [[[float(n), 0.0, 0.0]] * size for n, size in enumerate(sizes)]
    results = list(driver.stream("plane", batches, in_flight=16))

    assert [[[n]] * size for n, size in enumerate(sizes)] == [each.tolist() for each in results]
    assert [2, 3, 4, 6, 9] == sorted(len(rows) for rows in rows_of(server))
    sent = [one for rows in rows_of(server) for one in rows]
    assert sorted(sent) == [one for batch in batches for one in batch]


def test_batches_for_a_server_that_runs_long_requests_in_parts_travel_together(
    driver: Driver, server: LinearServer
) -> None:
    """It is one of ours; what a model takes at once is its own affair then."""
    known(server, driver, "line", [32.0])
    results = list(driver.stream("line", [np.full(8, 32 + 1.8 * n) for n in range(8)]))

    for number, result in enumerate(results):
        np.testing.assert_allclose(result.y, np.full((8, 1), number), atol=1e-4)
    assert [32, 32] == [len(rows) for rows in rows_of(server)]


@pytest.mark.parametrize(
    ("parameters", "sent"),
    [
        pytest.param({"isotherm.provider": "cpu"}, [20, 20], id="ours, without a contract"),
        pytest.param({"isotherm.provider": ""}, [5] * 8, id="another, which says nothing"),
        pytest.param({"max_queue": "9"}, [5] * 8, id="another"),
    ],
)
def test_it_is_told_by_what_no_other_server_says_of_a_model(
    driver: Driver, server: LinearServer, parameters: dict[str, str], sent: list[int]
) -> None:
    """In the model's configuration; with a contract, or without one."""
    server.models["line"] = dataclasses.replace(
        server.models["line"], contract="", parameters=parameters
    )
    known(server, driver, "line", [32.0])
    results = list(driver.stream("line", [np.full((5, 1), 32 + 1.8 * n, "f4") for n in range(8)]))

    for number, result in enumerate(results):
        np.testing.assert_allclose(result.y, np.full((5, 1), number), atol=1e-4)
    assert sent == [len(rows) for rows in rows_of(server)]


def test_batches_for_a_model_that_takes_none_are_not_merged(
    driver: Driver, server: LinearServer
) -> None:
    """Nor where the client was told not to."""
    server.models["echo"].max_batch_size = 0
    results = list(driver.stream("echo", [[["a"]], [["b"]], [["c"]]]))

    assert [[[b"a"]], [[b"b"]], [[b"c"]]] == [each.tolist() for each in results]
    assert len(server.requests) == 3


def test_without_coalescing_each_batch_has_a_request_of_its_own(
    connect: Connect, server: LinearServer
) -> None:
    """As each caller has."""
    driver = known(server, connect(coalesce=False), "plane", row(0))

    assert list(range(9)) == [
        each.item() for each in driver.stream("plane", [row(n) for n in range(9)])
    ]
    assert sorted(rows_of(server)) == [row(n) for n in range(9)]


def test_rows_are_sent_ahead_no_further_than_a_server_lets_wait(
    driver: Driver, server: LinearServer, gate: Gate
) -> None:
    """Long batches are sent by rows, not by number; one more is read, and takes the next place."""
    taken = 0

    def reading() -> Iterator[Any]:
        nonlocal taken
        for _ in range(20):
            taken += 1
            yield np.zeros((10_000, 3), np.float32)

    stream = driver.stream("plane", reading(), in_flight=20)
    future = _later(lambda: next(stream))
    gate.wait_for(4)
    assert eventually(lambda: taken == 5)
    sent = len(server.inferences)
    gate.open()
    future.result(PATIENCE_S)
    # Whatever whoever has the first answer does with it.
    followed = eventually(lambda: len(server.inferences) == 5)
    read = taken
    stream.close()

    assert sent == 4
    assert followed
    assert read == 5


def test_they_travel_together_however_many_rows_are_on_their_way(
    driver: Driver, server: LinearServer
) -> None:
    """Two go into a request, and eight are as many rows as a server lets wait."""
    known(server, driver, "line", [32.0])
    results = list(driver.stream("line", [np.full(4096, 32.0 + n) for n in range(32)]))

    assert [(1.8 * result.y[0, 0]).round() for result in results] == list(range(32))
    assert [8192] * 16 == [len(rows) for rows in rows_of(server)]


def test_a_batch_among_others_that_is_refused_fails_in_its_turn(
    driver: Driver, server: LinearServer
) -> None:
    """Those that travelled with it are answered."""
    server.refuses = lambda x: bool((x == 666).any())
    stream = driver.stream("plane", [row(n) for n in (0, 1, 666, 3, 4, 5)], in_flight=16)
    results = [next(stream).item() for _ in range(2)]
    with pytest.raises(InvalidInputError):
        next(stream)

    assert [0, 1] == results


def test_outputs_are_chosen_as_for_predict(driver: Driver) -> None:
    """One name gives arrays, several give predictions."""
    batches = [[32.0], [212.0]]
    alone = list(driver.stream("line", batches, outputs="y", version=1))
    several = list(driver.stream("line", batches))

    np.testing.assert_allclose([each.item() for each in alone], [0, 100], atol=1e-4)
    assert all(isinstance(each, Prediction) for each in several)


def test_no_batches_give_no_results(driver: Driver, server: LinearServer) -> None:
    """Nor is anything asked."""
    assert [] == list(driver.stream("plane", []))
    assert [] == server.calls


@pytest.mark.parametrize("found", ["here", "by the server", "in the model"])
def test_an_error_comes_when_its_batch_s_turn_has_come(
    driver: Driver, server: LinearServer, found: str
) -> None:
    """Everything before it has been yielded."""
    bad: Any = row(666)
    if found == "here":
        bad = [[1.0, 2.0]]
    elif found == "by the server":
        server.refuses = lambda x: bool((x == 666).any())
    else:
        server.breaks = lambda x: bool((x == 666).any())
    batches = [row(0), row(1), row(2), bad, row(4), row(5)]
    stream = driver.stream("plane", batches, in_flight=6)
    results = [next(stream).item() for _ in range(3)]
    with pytest.raises(ServerFaultError if found == "in the model" else InvalidInputError):
        next(stream)

    assert [0, 1, 2] == results
    assert [] == list(stream)


def test_an_unknown_model_is_an_error_of_the_first_batch(driver: Driver) -> None:
    """Not of the call: nothing is sent before a result is asked for."""
    stream = driver.stream("absent", [row(0), row(1)])
    with pytest.raises(NotFoundError):
        next(stream)


def test_failures_are_repeated_within_the_stream(driver: Driver, server: LinearServer) -> None:
    """Nobody notices, and the order stays."""
    server.failures = [grpc.StatusCode.UNAVAILABLE] * 5
    results = list(driver.stream("plane", [row(n) for n in range(10)], in_flight=4))

    assert list(range(10)) == [each.item() for each in results]
    assert len(server.requests) == 15


def test_each_batch_has_the_timeout_for_itself(
    driver: Driver, server: LinearServer, gate: Gate
) -> None:
    """And is told of as late in its turn."""
    stream = driver.stream("plane", [row(0), row(1)], timeout=0.2)
    with pytest.raises(DeadlineExceededError):
        next(stream)
    gate.open()


def test_a_stream_that_is_left_early_ends_what_is_on_its_way(
    driver: Driver, kind: str, server: LinearServer
) -> None:
    """The server need not go on: at once, or for threads when the client is closed."""
    held = Gate()
    server.script = [lambda inference: inference.rows == row(0) or held()] * 4
    stream = driver.stream("plane", Batches(), in_flight=4)
    assert next(stream).item() == 0
    held.wait_for(3)
    left = list(server.inferences)
    stream.close()
    if kind == "threads":
        driver.close()
    ended = eventually(lambda: all(inference.over.is_set() for inference in left))
    held.open()

    assert ended


def test_closing_the_client_ends_its_streams(
    driver: Driver, server: LinearServer, gate: Gate
) -> None:
    """With the error of any call that is in flight then."""
    stream = driver.stream("plane", Batches(), in_flight=2)
    future = _later(lambda: next(stream))
    gate.wait_for(2)
    driver.close()
    error = future.exception(PATIENCE_S)
    gate.open()

    assert isinstance(error, CallCancelledError)


def test_a_closed_client_streams_nothing(driver: Driver) -> None:
    """As with any other call."""
    driver.close()
    stream = driver.stream("plane", [row(0)])
    with pytest.raises(ClosedError):
        next(stream)


@pytest.mark.parametrize("in_flight", [0, -1])
def test_a_stream_of_no_batches_at_a_time_is_refused_at_once(
    driver: Driver, in_flight: int
) -> None:
    """Where the mistake is made."""
    with pytest.raises(InvalidInputError, match=f"in_flight is {in_flight}, expected 1 or more"):
        driver.stream("plane", [], in_flight=in_flight)


@pytest.mark.parametrize("in_flight", [1, 8])
def test_an_iterator_that_fails_is_told_as_it_is(driver: Driver, in_flight: int) -> None:
    """Its error is not one of ours, and comes after what it gave before."""

    def reading() -> Iterator[Any]:
        yield row(0)
        yield row(1)
        msg = "the file is cut off"
        raise OSError(msg)

    stream = driver.stream("plane", reading(), in_flight=in_flight)

    assert [0, 1] == [next(stream).item() for _ in range(2)]
    with pytest.raises(OSError, match="the file is cut off"):
        next(stream)


async def test_batches_may_come_by_an_asynchronous_iterator(server: LinearServer) -> None:
    """No more of them are read ahead either."""
    taken = 0

    async def reading() -> AsyncIterator[Any]:
        nonlocal taken
        for number in count():
            await asyncio.sleep(0)
            taken += 1
            yield row(number)

    results = []
    async with AsyncClient(server.address) as client:
        async for result in client.predict_stream("plane", reading(), in_flight=3):
            assert isinstance(result, np.ndarray)
            results.append(result.item())
            assert taken <= len(results) + 2
            if len(results) == 10:
                break

    assert list(range(10)) == results


async def test_breaking_off_ends_what_is_on_its_way(server: LinearServer) -> None:
    """Without a word: the loop sees to it that a generator which nobody has is closed."""
    held = Gate()
    server.script = [lambda inference: inference.rows == row(0) or held()] * 3
    async with AsyncClient(server.address, timeout=LONG_S) as client:
        async for _ in client.predict_stream("plane", Batches(), in_flight=3):
            await asyncio.to_thread(held.wait_for, 2)
            break
        ended = [
            await asyncio.to_thread(inference.over.wait, PATIENCE_S)
            for inference in server.inferences
        ]
        held.open()

    assert [True] * 3 == ended


@pytest.mark.parametrize("kind", ["tasks"])
def test_a_cancelled_stream_ends_what_is_on_its_way(
    driver: Driver, server: LinearServer, gate: Gate
) -> None:
    """The task that reads it was cancelled."""
    assert isinstance(driver, Tasks)
    client = driver.client

    async def read() -> None:
        async for _ in client.predict_stream("plane", Batches(), in_flight=3):
            pass

    future = asyncio.run_coroutine_threadsafe(read(), driver.loop)
    gate.wait_for(3)
    future.cancel()
    ended = [inference.over.wait(PATIENCE_S) for inference in server.inferences]
    gate.open()

    assert [True] * 3 == ended


def _later(function: Any) -> Any:
    """Run something on a thread of its own."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(function)
    finally:
        pool.shutdown(wait=False)
