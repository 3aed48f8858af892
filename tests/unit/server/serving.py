"""A transport on a real socket, on a thread of its own, always run to its end."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import grpc

from isotherm.server.transport.call import Methods, Transport, TransportConfig
from isotherm.server.transport.choose import choose_transport

PATIENCE_S = 30.0
FORGOTTEN_S = 3.0
Name = Literal["core", "aio"]


@dataclass
class Serving:
    """A running transport and a channel to it."""

    transport: Transport
    port: int
    channel: grpc.Channel
    # (path, status code) of every call that ended.
    ended: queue.SimpleQueue[tuple[str, int]]
    thread: threading.Thread

    def unary(self, path: str) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
        """Return a caller of bytes."""
        return self.channel.unary_unary(path)

    def stream(self, path: str) -> grpc.StreamStreamMultiCallable[bytes, bytes]:
        """Return a caller of many messages each way."""
        return self.channel.stream_stream(path)

    def call(self, path: str, message: bytes = b"") -> bytes:
        """Call a unary method."""
        return self.unary(path)(message, timeout=PATIENCE_S)

    def error(self, path: str, message: bytes = b"") -> grpc.Call:
        """Call a unary method that fails; return its error."""
        future = self.unary(path).future(message, timeout=PATIENCE_S)
        error = future.exception()
        assert isinstance(error, grpc.Call)
        return error

    def first_error(self, path: str) -> grpc.Call:
        """Call a method until a call fails, as it does some moments after a stop.

        One call in a thousand that comes while a server of `grpc.aio` begins to stop is forgotten
        there, and ends by its deadline: another says more.
        """
        while True:
            error = self.unary(path).future(b"", timeout=FORGOTTEN_S).exception()
            if error is None:
                continue
            assert isinstance(error, grpc.Call)
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                return error

    def on_loop(self, function: Callable[[], object]) -> None:
        """Run a function on the transport's thread, and wait for it."""
        done = threading.Event()

        def callback() -> None:
            try:
                function()
            finally:
                done.set()

        self.transport.call_soon_threadsafe(callback)
        assert done.wait(PATIENCE_S)

    def next_ended(self) -> tuple[str, int]:
        """Wait for the next call that ends."""
        return self.ended.get(timeout=PATIENCE_S)

    def stop(self, grace_s: float = 5.0) -> None:
        """Ask the transport to stop."""
        self.transport.call_soon_threadsafe(lambda: self.transport.stop(grace_s))

    def join(self) -> None:
        """Wait for the transport's end."""
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()


@contextmanager
def serving(
    name: Name,
    methods: Methods,
    *,
    config: TransportConfig | None = None,
    options: tuple[tuple[str, int], ...] = (),
    private: str | None = None,
) -> Iterator[Serving]:
    """Serve methods until the block ends."""
    ended: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
    started: queue.SimpleQueue[tuple[Transport, int] | Exception] = queue.SimpleQueue()

    def end(path: str, code: int, calls: int = 1) -> None:
        for _ in range(calls):
            ended.put((path, code))

    def run() -> None:
        try:
            _, transport = choose_transport(name, end, config or TransportConfig())
            port = transport.listen("127.0.0.1:0", methods, private)
        except Exception as error:  # noqa: BLE001  the test's thread raises it
            started.put(error)
            return
        started.put((transport, port))
        transport.run()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    outcome = started.get(timeout=PATIENCE_S)
    if isinstance(outcome, Exception):
        raise outcome
    transport, port = outcome
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        server = Serving(transport, port, channel, ended, thread)
        try:
            yield server
        finally:
            server.stop()
            server.join()
