"""A generator: a process that makes its share of each load that is ordered.

By `grpc.aio`: beside futures of blocking channels it takes about the same CPU time a call, and it
sends more punctually, since no other thread holds the interpreter when a request is due.
"""

from __future__ import annotations

import asyncio
import gc
import selectors
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

import grpc
import grpc.aio

from isotherm.client._channel import options, secure
from isotherm.client._methods import MODEL_INFER
from isotherm.client._security import Bearer, credentials
from isotherm.client.cli.bench.arrivals import Share
from isotherm.client.cli.bench.load import SETUP_S, Target
from isotherm.client.cli.bench.step import Order, Step, Stub


@dataclass(frozen=True, slots=True)
class Ready:
    """What a generator says when its connections stand."""


@dataclass(frozen=True, slots=True)
class Broken:
    """What it says when they do not: the reason, in a sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """What ends the load that is being made; its tally comes all the same."""


def main(pipe: Connection, target: Target, share: Share) -> None:
    """Make loads as they are ordered through `pipe`, until its other end is closed."""
    # A Ctrl-C is for the process that gives the orders.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A broken pipe is the orders' end as well: nobody waits for what would be sent.
    with suppress(BrokenPipeError), asyncio.Runner(loop_factory=_punctual_loop) as runner:
        runner.run(_Generator(pipe, target, share).work())


def _punctual_loop() -> asyncio.AbstractEventLoop:
    # epoll waits in whole milliseconds, select in microseconds. It has two sockets to look at.
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


class _Generator:
    def __init__(self, pipe: Connection, target: Target, share: Share) -> None:
        self._pipe = pipe
        self._target = target
        self._share = share
        self._orders: asyncio.Queue[Order | None] = asyncio.Queue()
        self._step: Step | None = None

    async def work(self) -> None:
        """Connect, and carry out one order after the other."""
        asyncio.get_running_loop().add_reader(self._pipe.fileno(), self._read)
        channels = _channels(self._target)
        try:
            if await self._connected(channels):
                await self._obey(channels)
        finally:
            for channel in channels:
                await channel.close()

    async def _connected(self, channels: Sequence[grpc.aio.Channel]) -> bool:
        limit_s = max(self._target.timeout_s, SETUP_S)
        try:
            async with asyncio.timeout(limit_s):
                await asyncio.gather(*(channel.channel_ready() for channel in channels))
        except TimeoutError:
            self._pipe.send(Broken(f"no connection to {self._target.address} in {limit_s:g} s"))
            return False
        return True

    async def _obey(self, channels: Sequence[grpc.aio.Channel]) -> None:
        stubs: list[Stub] = [channel.unary_unary(MODEL_INFER.path) for channel in channels]
        bearer = Bearer(self._target.token)
        # What is there by now stays: the collector need not go through it again and again.
        gc.freeze()
        self._pipe.send(Ready())
        while order := await self._orders.get():
            self._step = Step(self._target, stubs, order, self._share, bearer)
            tally = await self._step.run()
            self._step = None
            self._pipe.send(tally)

    def _read(self) -> None:
        message: Order | Stop
        try:
            message = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            # Whoever gave the orders has no more of them, or is gone.
            asyncio.get_running_loop().remove_reader(self._pipe.fileno())
            self._orders.put_nowait(None)
            message = Stop()
        if isinstance(message, Order):
            self._orders.put_nowait(message)
        elif self._step is not None:
            self._step.stop()


def _channels(target: Target) -> list[grpc.aio.Channel]:
    secured = secure(target.tls)
    settings = options(target.address, secured)
    known = credentials(secured)
    if known is None:
        return [
            grpc.aio.insecure_channel(target.address, settings) for _ in range(target.connections)
        ]
    return [
        grpc.aio.secure_channel(target.address, known, settings) for _ in range(target.connections)
    ]
