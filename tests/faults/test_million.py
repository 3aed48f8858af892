"""A million merged calls under injected faults: every answer is for the caller who gets it."""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from isotherm.client import AsyncClient, Client, InvalidInputError, IsothermError
from tests.faults.drivers import MODEL
from tests.support import models
from tests.support.proxy import Proxy, proxied
from tests.support.relay import Way
from tests.support.server import Server, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

# Together a million. Float32 tells all whole numbers up to 2^24 apart, and so their doubles.
OF_TASKS = 900_000
OF_THREADS = 100_000
TASKS = 128
THREADS = 64
TIMEOUT_S = 2.0
# Of all calls: rows that the model refuses, callers in a hurry, callers who give up.
POISONED_EVERY = 997
HURRIED_EVERY = 499
HURRIED_S = 0.003
GIVEN_UP_EVERY = 251
FAULT_PAUSE_S = 0.4
KILL_EVERY = 12


class Ledger:
    """How calls ended. Each has a number of its own, which it sends and gets back doubled."""

    def __init__(self, calls: int) -> None:
        self.calls = calls
        self.ends: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.slowest_s = 0.0
        self._numbers = iter(range(calls))
        self._lock = threading.Lock()

    def take(self) -> int | None:
        """Return the next call's number; None when all are made."""
        with self._lock:
            return next(self._numbers, None)

    def answered(self, number: int, answer: np.ndarray, since_s: float) -> None:
        """Check an answer."""
        right = answer.shape == (1, 1) and answer[0, 0] == 2 * number
        if not right or poisoned(number):
            self.wrong.append(f"{number} got {answer!r}")
        self._end("answered", since_s)

    def failed(self, number: int, error: IsothermError, since_s: float) -> None:
        """Check an error: who sent a good row is not told of another's bad one."""
        if isinstance(error, InvalidInputError) and not poisoned(number):
            self.wrong.append(f"{number} got {error!r}")
        self._end(type(error).__name__, since_s)

    def given_up(self) -> None:
        """Note a call that its caller cancelled."""
        self._end("given up", time.monotonic())

    def _end(self, how: str, since_s: float) -> None:
        with self._lock:
            self.ends[how] += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - since_s)


def poisoned(number: int) -> bool:
    """Tell whether this call's row is one that the model refuses."""
    return number % POISONED_EVERY == 1


def row(number: int) -> np.ndarray:
    """Return what the call sends."""
    return np.array([[math.nan if poisoned(number) else number]], np.float32)


def options(number: int) -> dict[str, Any]:
    """Return how the call is made: callers who want different things share no request."""
    timeout = HURRIED_S if number % HURRIED_EVERY == 2 else TIMEOUT_S
    return {"timeout": timeout} | ({"outputs": "y"} if number % 3 else {})


async def ask_with_tasks(address: str, ledger: Ledger) -> None:
    """Make all calls of the ledger."""

    async def caller(client: AsyncClient) -> None:
        while (number := ledger.take()) is not None:
            since_s = time.monotonic()
            call = client.predict(MODEL, row(number), **options(number))
            try:
                if number % GIVEN_UP_EVERY == 3:
                    answer = await given_up_soon(call)
                else:
                    answer = await call
            except IsothermError as error:
                ledger.failed(number, error, since_s)
            except TimeoutError:
                ledger.given_up()
            else:
                ledger.answered(number, answer, since_s)

    async def given_up_soon(call):
        async with asyncio.timeout(HURRIED_S):
            return await call

    async with AsyncClient(address) as client, asyncio.TaskGroup() as callers:
        for _ in range(TASKS):
            callers.create_task(caller(client))


def ask_with_threads(address: str, ledger: Ledger) -> None:
    """Make all calls of the ledger."""
    broken: list[BaseException] = []

    def caller() -> None:
        try:
            while (number := ledger.take()) is not None:
                since_s = time.monotonic()
                try:
                    answer = client.predict(MODEL, row(number), **options(number))
                except IsothermError as error:
                    ledger.failed(number, error, since_s)
                else:
                    ledger.answered(number, answer, since_s)
        except BaseException as error:  # noqa: BLE001  the test's own thread raises it
            broken.append(error)

    with Client(address) as client:
        threads = [threading.Thread(target=caller) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not broken, broken


@contextmanager
def faults(proxy: Proxy, server: Server) -> Iterator[Counter[str]]:
    """Break the way to the server, and its workers, as long as the block lasts."""
    happened: Counter[str] = Counter()
    over = threading.Event()
    rng = random.Random(20)
    on_the_way: dict[str, Callable[[], object]] = {
        "reset": proxy.reset,
        "delayed": lambda: proxy.delay(rng.uniform(0.001, 0.05)),
        "interrupted": lambda: proxy.hold(rng.choice((Way.REQUESTS, Way.ANSWERS, Way.BOTH))),
        "half-open": lambda: proxy.swallow(rng.choice((Way.REQUESTS, Way.ANSWERS, Way.BOTH))),
        "refused": proxy.refuse,
    }

    def work() -> None:
        for number in itertools.count(1):
            if over.wait(FAULT_PAUSE_S):
                return
            name = rng.choice(list(on_the_way))
            on_the_way[name]()
            happened[name] += 1
            if name == "refused":
                proxy.reset()
            over.wait(rng.uniform(0.0, 0.1))
            proxy.heal()
            if number % KILL_EVERY == 0:
                # Those that are being started again have no number yet.
                workers = server.workers()
                with suppress(ProcessLookupError):
                    if workers:
                        os.kill(rng.choice(workers), signal.SIGKILL)
                        happened["killed"] += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield happened
    finally:
        over.set()
        thread.join()
        proxy.heal()


def summed(server: Server, name: str) -> float:
    """Add up a metric's series."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(server.get("/metrics")[1])
        for sample in family.samples
        if sample.name == name
    )


@pytest.mark.parametrize(
    ("ask", "calls"),
    [
        pytest.param(lambda *given: asyncio.run(ask_with_tasks(*given)), OF_TASKS, id="tasks"),
        pytest.param(ask_with_threads, OF_THREADS, id="threads"),
    ],
)
def test_a_million_calls_get_their_own_answers_or_an_error(
    tmp_path: Path, ask: Callable[[str, Ledger], None], calls: int
) -> None:
    """Whatever breaks on the way, no row goes to another caller, and no call is forgotten."""
    model = models.with_contract(models.doubling(), models.doubling_contract())
    models.publish(tmp_path, MODEL, model)
    ledger = Ledger(calls)
    with (
        serving(tmp_path, "--workers", "2", "--grace", "1", "--log-level", "error") as server,
        proxied(server.grpc_port) as proxy,
        faults(proxy, server) as happened,
    ):
        begin = time.monotonic()
        ask(proxy.address, ledger)
        print(f"{calls / (time.monotonic() - begin):.0f} calls/s, slowest {ledger.slowest_s:.2f} s")
        print(dict(happened), dict(ledger.ends))
        rows = summed(server, "isotherm_inferences_total")
        requests = summed(server, "isotherm_requests_total")

    assert not ledger.wrong, f"{len(ledger.wrong)} wrong: {ledger.wrong[:10]}"
    assert ledger.ends.total() == calls
    assert ledger.slowest_s < TIMEOUT_S + 2
    assert ledger.ends["answered"] > 0.9 * calls
    # Merged, or this was another test.
    assert requests < calls / 4
    assert rows >= ledger.ends["answered"]
    assert min(happened.values()) > 0
