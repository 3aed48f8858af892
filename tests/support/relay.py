"""A TCP connection that is passed on under a fault."""

from __future__ import annotations

import asyncio
import enum
import socket
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

HOST = "127.0.0.1"
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


class Way(enum.Flag):
    """Which way bytes go."""

    NEITHER = 0
    REQUESTS = enum.auto()
    ANSWERS = enum.auto()
    BOTH = REQUESTS | ANSWERS


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to bytes and to new connections; nothing, unless it is said."""

    delay_s: float = 0.0
    held: Way = Way.NEITHER
    swallowed: Way = Way.NEITHER
    refuses: bool = False
    # Connections that have lost bytes stay without a sign.
    unforgiving: bool = False


class _Close(enum.Enum):
    """How a stream ends."""

    END = enum.auto()
    RESET = enum.auto()


class _Lane:
    """One way of one connection: what is under way, in order."""

    def __init__(self, way: Way, passed: Callable[[_Lane, bytes | _Close], None]) -> None:
        self.way = way
        self.lossy = False
        self.ended = False
        self._passed = passed
        self._fault = Fault()
        self._waiting: list[tuple[float, bytes | _Close]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._open = False

    def open(self) -> None:
        """Let go what has come before there was somewhere to go to."""
        self._open = True
        self._move()

    @property
    def swallows(self) -> bool:
        """Whether what comes now is lost."""
        return self.way in self._fault.swallowed

    def take(self, item: bytes | _Close) -> None:
        """Take bytes, or the end."""
        if self.swallows:
            self.lossy = True
            return
        self._waiting.append((asyncio.get_running_loop().time() + self._fault.delay_s, item))
        self._move()

    def set(self, fault: Fault) -> None:
        """Go on under another fault, and so does what is under way."""
        if fault.delay_s < self._fault.delay_s:
            self._waiting[:] = [(0.0, item) for _, item in self._waiting]
        self._fault = fault
        self._move()

    def stop(self) -> None:
        """Drop what is under way."""
        self._waiting.clear()
        self._open = False
        self._move()

    def _move(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        while self._open and self._waiting and self.way not in self._fault.held:
            due, item = self._waiting[0]
            if due > loop.time():
                self._timer = loop.call_at(due, self._move)
                return
            del self._waiting[0]
            self._passed(self, item)


class _End(asyncio.Protocol):
    """One of a connection's two ends: the caller's or the server's."""

    def __init__(self, connection: Connection, lane: _Lane) -> None:
        self._connection = connection
        # What this end sends.
        self.lane = lane
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._connection.made(self)

    def data_received(self, data: bytes) -> None:
        self._connection.take(self, data)

    def eof_received(self) -> bool:
        self._connection.take(self, _Close.END)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if exc is not None:
            self._connection.take(self, _Close.RESET)
        self._connection.lost()

    # The slower side sets the pace: a proxy that read on would hide it in its own memory.
    def pause_writing(self) -> None:
        self._connection.other(self).pause(reading=False)

    def resume_writing(self) -> None:
        self._connection.other(self).pause(reading=True)

    def pause(self, *, reading: bool) -> None:
        """Stop to read, or go on."""
        if self.transport is not None and not self.transport.is_closing():
            (self.transport.resume_reading if reading else self.transport.pause_reading)()

    def close(self, *, reset: bool = False) -> None:
        """Close it once all is sent, or now and with a reset."""
        if self.transport is None or self.transport.is_closing():
            return
        if not reset:
            self.transport.close()
            return
        raw = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
        self.transport.abort()


class Owner(Protocol):
    """Who keeps the connections.

    Attributes:
        target: The server's port.
        fault: What a new connection is under.
        passed: Bytes that were passed on, by their way.
        swallowed: Bytes that were lost, likewise.
    """

    target: int
    fault: Fault
    passed: Counter[Way]
    swallowed: Counter[Way]

    def connected(self, connection: Connection) -> None:
        """Take a connection that a caller has opened."""

    def lost(self, connection: Connection) -> None:
        """Forget one of which both ends are closed."""


class Connection:
    """A caller's connection, and the one to the server that belongs to it."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self.caller = _End(self, _Lane(Way.REQUESTS, self._passed))
        self.server = _End(self, _Lane(Way.ANSWERS, self._passed))
        self.gone = asyncio.Event()
        # Bytes of it are lost, and the peer has forgotten it.
        self._forgotten = False
        self._connecting: asyncio.Task[None] | None = None

    def other(self, end: _End) -> _End:
        """The opposite end."""
        return self.server if end is self.caller else self.caller

    def made(self, end: _End) -> None:
        """Lead the opposite end's bytes there; for a caller, connect to the server as well."""
        self.other(end).lane.open()
        if end is not self.caller:
            return
        self._owner.connected(self)
        if self._owner.fault.swallowed is Way.BOTH:
            self.caller.lane.lossy = True
        else:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def set(self, fault: Fault) -> None:
        """Go on under another fault."""
        lanes = self.caller.lane, self.server.lane
        if any(lane.lossy and lane.way not in fault.swallowed for lane in lanes):
            if fault.unforgiving:
                return
            self._forgotten = True
        for lane in lanes:
            lane.set(fault)

    def take(self, end: _End, item: bytes | _Close) -> None:
        """Take what an end has sent."""
        if self._forgotten:
            self.reset()
            return
        end.lane.take(item)
        if end.lane.swallows and isinstance(item, bytes):
            self._owner.swallowed[end.lane.way] += len(item)

    def lost(self) -> None:
        """Note that an end is closed."""
        if self.caller.transport is None and self.server.transport is None:
            if self._connecting is not None:
                self._connecting.cancel()
            self._owner.lost(self)
            self.gone.set()

    def reset(self) -> None:
        """End it on both sides with a reset."""
        if self._connecting is not None:
            self._connecting.cancel()
        for end in (self.caller, self.server):
            end.lane.stop()
            end.close(reset=True)

    def _passed(self, lane: _Lane, item: bytes | _Close) -> None:
        sender = self.caller if lane is self.caller.lane else self.server
        out = self.other(sender).transport
        if item is _Close.RESET or out is None or out.is_closing():
            self.reset()
        elif item is _Close.END:
            lane.ended = True
            out.write_eof()
            if self.caller.lane.ended and self.server.lane.ended:
                self.caller.close()
                self.server.close()
        else:
            assert isinstance(item, bytes)
            # First, for whoever looks once the bytes have come.
            self._owner.passed[lane.way] += len(item)
            out.write(item)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        raw = socket.socket()
        raw.setblocking(False)
        try:
            await loop.sock_connect(raw, (HOST, self._owner.target))
            await loop.create_connection(lambda: self.server, sock=raw)
        except OSError:
            raw.close()
            self.server.lane.take(_Close.RESET)
        except asyncio.CancelledError:
            # The server may have accepted it already.
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
            raw.close()
            raise
