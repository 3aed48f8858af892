"""The asyncio client against a real gRPC server of the protocol, and its parity with the other."""

from __future__ import annotations

import asyncio
import inspect
import threading

import grpc
import numpy as np
import pytest
import pytest_asyncio

from isotherm.client import (
    AsyncClient,
    CallCancelledError,
    Client,
    ClosedError,
    DeadlineExceededError,
    InvalidInputError,
    NoContractError,
    NotFoundError,
    OverloadedError,
)


@pytest_asyncio.fixture(name="aio")
async def _aio(server):
    async with AsyncClient(server.address) as client:
        yield client


def _public(cls):
    return {
        name: inspect.signature(member)
        for name, member in vars(cls).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }


def test_both_clients_have_the_same_methods_and_signatures():
    """Whoever knows one knows the other."""
    blocking, awaiting = _public(Client), _public(AsyncClient)
    streams = blocking.pop("predict_stream"), awaiting.pop("predict_stream")

    assert blocking == awaiting
    # Both kinds of iterator are taken, and the loop's kind is given.
    of_the_loop = str(streams[0]).replace(
        "Iterable[_types.Inputs]", "Iterable[_types.Inputs] | AsyncIterable[_types.Inputs]"
    )
    assert of_the_loop.replace(
        "'Generator[_types.Array | _types.Prediction, None, None]'",
        "'AsyncGenerator[_types.Array | _types.Prediction, None]'",
    ) == str(streams[1])


def test_all_methods_of_the_asyncio_client_are_coroutines():
    """Nothing blocks the loop."""
    assert ["predict_stream"] == [
        name
        for name in _public(AsyncClient)
        if not inspect.iscoroutinefunction(getattr(AsyncClient, name))
    ]


def test_the_docstrings_of_both_clients_agree():
    """What is promised is promised twice."""
    for name in _public(Client):
        blocking, awaiting = getattr(Client, name), getattr(AsyncClient, name)

        assert blocking.__doc__ == awaiting.__doc__


async def test_a_prediction_is_awaited(aio):
    """The answer is the same as the blocking client's."""
    prediction = await aio.predict("line", [32.0, 212.0])

    np.testing.assert_allclose([[0], [100]], prediction.y, atol=1e-5)


async def test_tasks_may_share_a_client(aio):
    """Each task gets its own rows."""
    answers = await asyncio.gather(*(aio.predict("plane", [[n, 0, 0]]) for n in range(200)))

    assert list(range(200)) == [answer[0, 0] for answer in answers]


async def test_the_rest_of_the_protocol_is_awaited_too(aio):
    """Metadata, configuration, contract and health."""
    assert (await aio.server_metadata()).name == "linear"
    assert (await aio.model_metadata("line")).name == "line"
    assert (await aio.config("line")).max_batch_size == 8
    assert (await aio.contract("line")).targets[0].name == "celsius"
    assert await aio.health("line")
    with pytest.raises(NoContractError):
        await aio.contract("plane")


async def test_unavailable_is_retried(aio, server):
    """The same policy, without blocking the loop."""
    server.failures = [grpc.StatusCode.UNAVAILABLE] * 2

    answer = await aio.predict("plane", [[1, 2, 3]])

    assert answer[0, 0] == 6.0


async def test_failures_are_the_same_errors(aio, server):
    """Status, cause and pushback are kept."""
    with pytest.raises(NotFoundError) as caught:
        await aio.predict("absent", [1.0])
    assert isinstance(caught.value.__cause__, grpc.RpcError)

    with pytest.raises(InvalidInputError):
        await aio.predict("plane", [1.0, 2.0])

    server.failures = [grpc.StatusCode.RESOURCE_EXHAUSTED]
    server.trailers = (("grpc-retry-pushback-ms", "60250"),)
    with pytest.raises(OverloadedError) as overloaded:
        await aio.predict("plane", [[1, 2, 3]])
    assert overloaded.value.retry_after_s == 60.25


async def test_a_call_that_takes_too_long_ends_with_its_timeout(aio, server):
    """The deadline is the caller's."""
    release = threading.Event()
    server.delay = release.wait
    try:
        with pytest.raises(DeadlineExceededError):
            await aio.predict("plane", [[1, 2, 3]], timeout=0.2)
    finally:
        release.set()


async def test_a_cancelled_task_ends_as_cancelled(aio, server):
    """Asyncio's own cancellation is not turned into an error of ours."""
    entered, release = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        release.wait()

    server.delay = wait
    task = asyncio.create_task(aio.predict("plane", [[1, 2, 3]]))
    await asyncio.to_thread(entered.wait)
    try:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    finally:
        release.set()


async def test_closing_ends_the_calls_in_flight(server):
    """The caller of such a call was not cancelled itself, so it gets an error of ours."""
    entered, release = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        release.wait()

    server.delay = wait
    client = AsyncClient(server.address)
    task = asyncio.create_task(client.predict("plane", [[1, 2, 3]]))
    await asyncio.to_thread(entered.wait)
    try:
        await client.close()
        with pytest.raises(CallCancelledError):
            await task
    finally:
        release.set()


async def test_a_closed_client_says_so(server):
    """Also a client that was never used closes without a sound."""
    client = AsyncClient(server.address)
    await client.close()

    with pytest.raises(ClosedError):
        await client.health()


def test_a_client_may_be_made_before_there_is_a_loop(server):
    """The connection belongs to the loop that runs the first call."""
    client = AsyncClient(server.address)

    async def ask() -> bool:
        async with client:
            return await client.health()

    assert asyncio.run(ask())
