"""The portable transport: the same calls on the public `grpc.aio`, some five times slower."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

import grpc

from isotherm.server.errors import PortError
from isotherm.server.transport.call import (
    MAX_OUTBOX,
    Call,
    Gate,
    Metadata,
    Methods,
    Observer,
    StatusCode,
    Stream,
    TransportConfig,
    Unary,
    reply_each,
    shorten,
)
from isotherm.server.transport.options import server_options

_log = logging.getLogger(__name__)

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class AioTransport:
    """A gRPC server whose handlers run inline on one event loop."""

    def __init__(self, observe: Observer, config: TransportConfig) -> None:
        self._observe = observe
        self._credentials = config.credentials
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._stop_task: asyncio.Task[None] | None = None
        self._deferred: list[Callable[[], None]] = []
        self._server = self._loop.run_until_complete(self._build(config))

    def listen(self, address: str, methods: Methods, private: str | None = None) -> int:
        """Bind and start accepting; several processes may share the port (SO_REUSEPORT)."""
        self._server.add_generic_rpc_handlers((_Router(methods, self._observe),))
        try:
            if self._credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, self._credentials)
        except RuntimeError as error:
            msg = f"cannot bind {address}: the address is in use or not of this machine"
            raise PortError(msg) from error
        if private is not None:
            try:
                self._server.add_insecure_port(f"unix:{private}")
            except RuntimeError as error:
                msg = f"cannot bind the socket {private}: choose a shorter TMPDIR"
                raise PortError(msg) from error
        self._loop.run_until_complete(self._server.start())
        return port

    def run(self) -> None:
        """Run the event loop until stopped and the last call has ended."""
        self._loop.run_until_complete(self._stopped.wait())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def defer(self, callback: Callable[[], None]) -> None:
        """Call back once the callbacks that are ready now have run."""
        if not self._deferred:
            self._loop.call_soon(self._run_deferred)
        self._deferred.append(callback)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call back after a delay."""
        self._loop.call_later(delay_s, callback)

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        """Put a callback into the event loop's hands, and wake it."""
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            _log.debug("a callback came after the event loop was closed")

    def reply_all(self, calls: Sequence[Call], messages: Sequence[bytes]) -> None:
        """Answer calls with a message and OK each."""
        reply_each(calls, messages)

    def stop(self, grace_s: float) -> None:
        """Send GOAWAY, refuse new calls, and cancel those left after `grace_s`."""
        if self._stop_task is None:
            self._stop_task = self._loop.create_task(self._stop(grace_s))

    async def _stop(self, grace_s: float) -> None:
        await self._server.stop(grace_s)
        self._stopped.set()

    async def _build(self, config: TransportConfig) -> grpc.aio.Server:
        # grpc.aio takes the running loop at construction.
        return grpc.aio.server(options=server_options(config))

    def _run_deferred(self) -> None:
        deferred, self._deferred = self._deferred, []
        for callback in deferred:
            try:
                callback()
            except Exception:  # noqa: BLE001  one callback's fault must not take the next with it
                _log.exception("this is a bug: a callback raised")


class _Router(grpc.GenericRpcHandler):
    """Finds the method of a path; messages stay bytes."""

    def __init__(self, methods: Methods, observe: Observer) -> None:
        self._methods = methods
        self._observe = observe

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return grpc's handler for a path; unknown ones get UNIMPLEMENTED."""
        path = handler_call_details.method
        method = self._methods.get(path)
        if isinstance(method, Gate):
            metadata: Any = handler_call_details.invocation_metadata
            method = method.choose(metadata)
        if isinstance(method, Stream):
            return grpc.stream_stream_rpc_method_handler(self._stream(path, method))
        return grpc.unary_unary_rpc_method_handler(self._unary(path, method))

    def _unary(self, path: str, method: Unary | None) -> Any:
        async def behaviour(message: bytes, context: Any) -> bytes:
            call = _AioCall(path, context, self._observe)
            if method is None:
                call.fail(StatusCode.UNIMPLEMENTED, f"unknown method {path}")
            else:
                _guard(call, partial(method.handle, call, message))
            return await call.answer()

        return behaviour

    def _stream(self, path: str, method: Stream) -> Any:
        async def behaviour(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            call = _AioStream(path, context, self._observe)
            _guard(call, lambda: method.open(call))
            receiver = asyncio.ensure_future(call.receive(requests))
            try:
                async for message in call.outgoing():
                    yield message
                call.delivered = True
            finally:
                receiver.cancel()
                call.close()
            await call.end()

        return behaviour


def _guard(call: _AioCall | _AioStream, handle: Callable[[], None]) -> None:
    try:
        handle()
    except Exception:  # noqa: BLE001  one call's fault must not end the loop
        _log.exception("%s failed", call.path)
        call.fail(StatusCode.INTERNAL, "internal error; the server's log has the details")


class _CallBase:
    """What unary and streaming calls share: identity, deadline, one status."""

    def __init__(self, path: str, context: Any, observe: Observer) -> None:
        self.path = path
        remaining_s: float | None = context.time_remaining()
        self.deadline = None if remaining_s is None else time.time() + remaining_s
        self.cancelled = False
        self._context = context
        self._observe = observe

    def _abandon(self) -> None:
        self.cancelled = True
        expired = self.deadline is not None and self.deadline <= time.time()
        code = StatusCode.DEADLINE_EXCEEDED if expired else StatusCode.CANCELLED
        self._observe(self.path, int(code))

    async def _abort(self, code: StatusCode, details: str, metadata: Metadata) -> None:
        await self._context.abort(_CODES[int(code)], shorten(details), tuple(metadata))


class _AioCall(_CallBase):
    """A unary call: its answer is a future that the handler fills."""

    def __init__(self, path: str, context: Any, observe: Observer) -> None:
        super().__init__(path, context, observe)
        self._answer: asyncio.Future[tuple[StatusCode, Any, Metadata]]
        self._answer = asyncio.get_running_loop().create_future()

    def reply(self, message: bytes) -> None:
        """Answer with one message and OK."""
        self._set(StatusCode.OK, message, ())

    def fail(self, code: StatusCode, details: str, metadata: Metadata = ()) -> None:
        """End the call with an error."""
        self._set(code, details, metadata)

    def _set(self, code: StatusCode, content: bytes | str, metadata: Metadata) -> None:
        if not self._answer.done():
            self._answer.set_result((code, content, metadata))
            self._observe(self.path, int(code))

    async def answer(self) -> bytes:
        """Wait for the handler's answer; abort the call when it is an error."""
        try:
            code, content, metadata = await self._answer
        except asyncio.CancelledError:
            self._abandon()
            raise
        if code is not StatusCode.OK:
            await self._abort(code, content, metadata)
        message: bytes = content
        return message


class _AioStream(_CallBase):
    """A call of many messages: what is sent waits in a queue for grpc to fetch it."""

    def __init__(self, path: str, context: Any, observe: Observer) -> None:
        super().__init__(path, context, observe)
        self.on_message: Callable[[bytes], None] = lambda _message: None
        self.on_half_close: Callable[[], None] = lambda: None
        self.on_close: Callable[[], None] = lambda: None
        self._outbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._held = False
        # Set while a further message may be read.
        self._room = asyncio.Event()
        self._room.set()
        self._status: tuple[StatusCode, str, Metadata] | None = None
        # Whether the caller was there until the last message.
        self.delivered = False

    def reply(self, message: bytes) -> None:
        """Send one message and end with OK."""
        self.send(message)
        self.finish()

    def send(self, message: bytes) -> None:
        """Queue one message."""
        if self._status is None:
            self._outbox.put_nowait(message)
            self._look_for_room()

    def hold(self) -> None:
        """Read no further message for now."""
        self._held = True
        self._look_for_room()

    def resume(self) -> None:
        """Read on."""
        self._held = False
        self._look_for_room()

    def _look_for_room(self) -> None:
        if self._held or self._outbox.qsize() >= MAX_OUTBOX:
            self._room.clear()
        else:
            self._room.set()

    def finish(self) -> None:
        """End with OK after what is queued."""
        self.fail(StatusCode.OK, "")

    def fail(self, code: StatusCode, details: str, metadata: Metadata = ()) -> None:
        """End with an error after what is queued."""
        if self._status is None:
            self._status = (code, details, metadata)
            self._outbox.put_nowait(None)

    async def receive(self, requests: AsyncIterator[bytes]) -> None:
        """Hand every message to the handler, then tell it that no more will come."""
        async for message in requests:
            if self._status is not None:
                return
            _guard(self, partial(self.on_message, message))
            await self._room.wait()
        _guard(self, self.on_half_close)

    async def outgoing(self) -> AsyncIterator[bytes]:
        """Yield queued messages until the handler ends the call."""
        while (message := await self._outbox.get()) is not None:
            self._look_for_room()
            yield message

    def close(self) -> None:
        """The call is over: tell the handler, and count it if nobody answered."""
        if self._status is not None and self.delivered:
            self._observe(self.path, int(self._status[0]))
        else:
            self._abandon()
            self._status = (StatusCode.CANCELLED, "", ())
        try:
            self.on_close()
        except Exception:  # noqa: BLE001  the call is over: there is nobody left to tell
            _log.exception("%s failed", self.path)

    async def end(self) -> None:
        """Send the status that the handler chose."""
        assert self._status is not None  # noqa: S101  outgoing() ends no sooner
        code, details, metadata = self._status
        if code is not StatusCode.OK:
            await self._abort(code, details, metadata)
