"""A TCP proxy between callers and a server, with faults that a test switches on and off."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tests.support.ports import free_port
from tests.support.relay import HOST, Connection, Fault, Way

COMMAND_TIMEOUT_S = 10.0

Value = TypeVar("Value")


class Proxy:
    """Listens on a port of its own, unless it is given one, and passes all on to `target`.

    A fault is in force when the method that switches it on returns, and ends the one before.

    Attributes:
        target: The server's port on this machine, for connections that are opened from now on.
        accepted: Connections that callers have opened so far.
        passed: Bytes that were passed on so far, by their way.
        swallowed: Bytes that were lost so far, likewise.
    """

    def __init__(self, target: int, host: str = HOST, port: int | None = None) -> None:
        self.target = target
        self.host = host
        self.port = free_port() if port is None else port
        self.accepted = 0
        self.passed: Counter[Way] = Counter()
        self.swallowed: Counter[Way] = Counter()
        self.fault = Fault()
        self._connections: set[Connection] = set()
        self._listener: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")

    @property
    def address(self) -> str:
        """Where callers connect to."""
        return f"{self.host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def heal(self, *, silent: bool = False) -> None:
        """Pass on everything, first of all what was held.

        A connection that has lost bytes cannot go on: it is reset when more come. If `silent`, it
        stays as it is instead, and its caller is never told: a router that has forgotten it.
        """
        self._set(Fault(unforgiving=silent))

    def delay(self, seconds: float) -> None:
        """Pass on every chunk so much later, both ways."""
        self._set(Fault(delay_s=seconds))

    def hold(self, way: Way = Way.BOTH) -> None:
        """Pass on nothing for now: a network that is interrupted and loses nothing."""
        self._set(Fault(held=way))

    def swallow(self, way: Way = Way.BOTH, *, refuses: bool = False) -> None:
        """Lose all that comes, in silence: connections stay, and new ones lead nowhere, or fail."""
        self._set(Fault(swallowed=way, refuses=refuses))

    def refuse(self) -> None:
        """Listen no longer; connections that are open stay and work."""
        self._set(Fault(refuses=True))

    def reset(self) -> int:
        """Reset every connection, now and once; return how many there were."""
        return self._do(self._reset())

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()
        self._do(self._listen())

    def stop(self) -> None:
        """Close everything."""
        self.refuse()
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def connected(self, connection: Connection) -> None:
        """Count a connection, and put it under the fault that is in force."""
        self.accepted += 1
        self._connections.add(connection)
        connection.set(self.fault)

    def lost(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    def _set(self, fault: Fault) -> None:
        async def change() -> None:
            self.fault = fault
            for connection in tuple(self._connections):
                connection.set(fault)
            await self._listen()

        self._do(change())

    def _do(self, work: Coroutine[Any, Any, Value]) -> Value:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(COMMAND_TIMEOUT_S)

    async def _listen(self) -> None:
        if self.fault.refuses and self._listener is not None:
            # What asyncio has accepted and made no connection of yet, it would leave open.
            for listening in self._listener.sockets:
                self._loop.remove_reader(listening.fileno())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            self._listener.close()
            self._listener = None
        elif not self.fault.refuses and self._listener is None:
            self._listener = await self._loop.create_server(
                lambda: Connection(self).caller, self.host, self.port
            )

    async def _end(self) -> None:
        # A connection that is just being made is none of ours yet.
        accepting = asyncio.all_tasks() - {asyncio.current_task()}
        if accepting:
            await asyncio.wait(accepting, timeout=1.0)
        # What was accepted is told of in the loop's next turn.
        await asyncio.sleep(0)
        await self._reset()

    async def _reset(self) -> int:
        connections = tuple(self._connections)
        for connection in connections:
            connection.reset()
        for connection in connections:
            await connection.gone.wait()
        return len(connections)


@contextmanager
def proxied(target: int, host: str = HOST, port: int | None = None) -> Iterator[Proxy]:
    """Run a proxy to a port until the block ends."""
    proxy = Proxy(target, host, port)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
