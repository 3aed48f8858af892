"""A step: the calls of one load, sent when they are due and timed from then on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio

from isotherm.client._security import Bearer
from isotherm.client.cli.bench.arrivals import Share, offsets_s
from isotherm.client.cli.bench.load import Load, Open, Period, Target
from isotherm.client.cli.bench.tally import NOT_SENT, Tally

# What a process keeps in memory of a server that has fallen behind: some 10 KB a call.
MAX_IN_FLIGHT: Final = 10_000
Stub: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[Any, Any]"
Call: TypeAlias = "grpc.aio.UnaryUnaryCall[Any, Any]"


@dataclass(frozen=True, slots=True)
class Order:
    """A load to make, from `start_s` on by the clock that all processes share (monotonic)."""

    load: Load
    period: Period
    start_s: float


class Step:
    """Makes one process's share of a load."""

    def __init__(
        self, target: Target, stubs: Sequence[Stub], order: Order, share: Share, bearer: Bearer
    ) -> None:
        self._order = order
        self._share = share
        self._bearer = bearer
        self._timeout_s = target.timeout_s
        # Processes begin with different requests: they must not send the same in step.
        first = share.index % len(target.bodies)
        self._bodies: Iterator[bytes] = cycle((*target.bodies[first:], *target.bodies[:first]))
        self._stubs: Iterator[Stub] = cycle(stubs)
        self._from_s = order.start_s + order.period.warmup_s
        self._until_s = order.start_s + order.period.span_s
        self._loop = asyncio.get_running_loop()
        self._sender: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._began: tuple[float, float] | None = None
        self._tally = Tally()

    async def run(self) -> Tally:
        """Send until the period is over, wait for what is in flight, and return the tally."""
        beginning = self._loop.call_at(self._from_s, self._begin)
        load = self._order.load
        work = self._open(load) if isinstance(load, Open) else self._closed(load.concurrency)
        self._sender = self._loop.create_task(work)
        await asyncio.wait([self._sender])
        beginning.cancel()
        self._end()
        if not self._sender.cancelled():
            self._sender.result()
        # Each ends with its deadline, at the latest.
        if self._calls:
            await asyncio.wait(self._calls)
        return self._tally

    def stop(self) -> None:
        """End it now; calls in flight are cut off, and not counted."""
        for task in (self._sender, *self._calls):
            if task is not None:
                task.cancel()

    async def _open(self, load: Open) -> None:
        span_s = self._order.period.span_s
        for offset_s in offsets_s(load.arrivals, load.rate, span_s, self._share, load.seed):
            due_s = self._order.start_s + offset_s
            if self._loop.time() > self._until_s + self._timeout_s:
                # So far behind that the rest would only prolong a load that is none any more.
                self._count(due_s, NOT_SENT)
                continue
            # Even when it is late, it lets answers in: their time is running as well.
            await asyncio.sleep(max(0.0, due_s - self._loop.time()))
            self._launch(due_s)
        await asyncio.sleep(max(0.0, self._until_s - self._loop.time()))

    def _launch(self, due_s: float) -> None:
        if len(self._calls) >= MAX_IN_FLIGHT:
            self._count(due_s, NOT_SENT)
            return
        call = self._loop.create_task(self._outcome(self._send(due_s), due_s))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _closed(self, concurrency: int) -> None:
        await asyncio.sleep(max(0.0, self._order.start_s - self._loop.time()))
        async with asyncio.TaskGroup() as callers:
            for _ in range(self._share.of(concurrency)):
                callers.create_task(self._caller())

    async def _caller(self) -> None:
        while (now_s := self._loop.time()) < self._until_s:
            await self._outcome(self._send(now_s), now_s)

    def _send(self, due_s: float) -> Call:
        metadata = self._bearer.metadata()
        call = next(self._stubs)(next(self._bodies), timeout=self._timeout_s, metadata=metadata)
        # gRPC sends from a task of its own, which is just before this one in the line.
        self._loop.call_soon(self._sent, due_s)
        return call

    async def _outcome(self, call: Call, due_s: float) -> None:
        try:
            await call
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and self._measures(due_s):
                self._tally.refusals.append(self._loop.time() - due_s)
            self._count(due_s, error.code().name)
        else:
            self._answered(due_s)

    def _sent(self, due_s: float) -> None:
        if self._measures(due_s):
            self._tally.lags.append(self._loop.time() - due_s)

    def _answered(self, due_s: float) -> None:
        now_s = self._loop.time()
        if self._measures(now_s):
            self._tally.completed += 1
        if self._measures(due_s):
            self._tally.latencies.append(now_s - due_s)
        self._count(due_s, "OK")

    def _count(self, due_s: float, status: str) -> None:
        if self._measures(due_s):
            self._tally.statuses[status] += 1

    def _measures(self, moment_s: float) -> bool:
        return self._from_s <= moment_s < self._until_s

    def _begin(self) -> None:
        self._began = time.monotonic(), time.process_time()

    def _end(self) -> None:
        now_s = time.monotonic()
        self._tally.seconds = max(0.0, min(now_s, self._until_s) - self._from_s)
        if self._began is not None:
            began_s, cpu_s = self._began
            share = (time.process_time() - cpu_s) / max(now_s - began_s, 1e-9)
            self._tally.cpu_shares.append(share)
