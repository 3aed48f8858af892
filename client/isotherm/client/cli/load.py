"""Load on a server: calls one after the other, and calls all at once."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import numpy as np

from isotherm.client._aio import AsyncClient
from isotherm.client._sync import Client
from isotherm.v1.tensors import Array


@dataclass(frozen=True, slots=True)
class Burst:
    """How many calls were answered, and in which time."""

    calls: int
    seconds: float

    @property
    def rate(self) -> float:
        """Calls per second."""
        return self.calls / self.seconds


def latencies_s(client: Client, model: str, row: Array, calls: int) -> Array:
    """Return the time of each of `calls` calls, made one after the other, in seconds."""
    times = np.empty(calls)
    for index in range(calls):
        start = time.perf_counter()
        client.predict(model, row)
        times[index] = time.perf_counter() - start
    return times


def burst(address: str, model: str, row: Array, calls: int, in_flight: int) -> Burst:
    """Make `calls` calls, `in_flight` of them at any time."""
    return asyncio.run(_burst(address, model, row, calls, in_flight))


async def _burst(address: str, model: str, row: Array, calls: int, in_flight: int) -> Burst:
    tickets = iter(range(calls))

    async def caller(client: AsyncClient) -> None:
        # One iterator for all callers: each takes the next ticket when it is free.
        for _ in tickets:
            await client.predict(model, row)

    # The server is to put the calls together, not the client.
    async with AsyncClient(address, timeout=30, coalesce=False) as client:
        await client.model_metadata(model)
        start = time.perf_counter()
        try:
            async with asyncio.TaskGroup() as callers:
                for _ in range(in_flight):
                    callers.create_task(caller(client))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        return Burst(calls, time.perf_counter() - start)
