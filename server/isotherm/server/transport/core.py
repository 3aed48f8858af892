"""The fast transport: one thread on grpcio's own completion queue.

`grpc._cython.cygrpc` is what `grpc.server` and `grpc.aio` are built on, but it is no public API:
this module is the only one that touches it, `self_check` proves it at every start, and
`transport.choose` falls back to the public API where it does not hold. The order of calls below
follows what was found by trial; docs/decisions/0001-completion-queue.md has the reasons.

Rules that keep the process alive:
* operation objects are built anew for every batch: a second use frees them twice;
* no batch is started after the queue's shutdown: `_closed` guards the only other thread's way in;
* no exception leaves the polling thread: deallocating the queue would then hang the exit.
"""

from __future__ import annotations

import heapq
import importlib
import itertools
import logging
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

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
    shorten,
)
from isotherm.server.transport.experiments import reads_where_polled
from isotherm.server.transport.options import server_options
from isotherm.server.transport.reader import SocketReader

# Compiled, and without stubs that cover it.
cygrpc: Any = importlib.import_module("grpc._cython.cygrpc")

_log = logging.getLogger(__name__)

# Calls that may arrive before we ask for more. Fewer cost throughput: answers then go out singly.
OUTSTANDING_ACCEPTS: Final = 64
MAX_OWED_ACCEPTS: Final = OUTSTANDING_ACCEPTS // 2
# Signals are seen, and timers checked, at least this often.
IDLE_POLL_S: Final = 0.5
SELF_CHECK_TIMEOUT_S: Final = 5.0
# Under a flood the queue is never empty: batches and timers get their turn after so many events.
MAX_BUSY_EVENTS: Final = 512
# A poll reads one socket, and not all that is read is news: one that finds nothing proves little.
EMPTY_POLLS: Final = 2
# So many events at a time are load: reading sockets is then worth a thread of its own.
BUSY_EVENTS: Final = 12

_NO_FLAGS: Final = 0
_NO_DEADLINE: Final = 1e18
_TIMEOUT: Final = cygrpc.CompletionType.queue_timeout
_SHUTDOWN: Final = cygrpc.CompletionType.queue_shutdown

_OPEN, _ANSWERED, _CLOSED = range(3)


class CoreTransport:
    """A gRPC server whose handlers run inline on the thread that polls."""

    def __init__(self, observe: Observer, config: TransportConfig) -> None:
        # By what core calls a path: what everyone else calls it, and what serves it.
        self._methods: dict[bytes, tuple[str, Unary | Stream | Gate]] = {}
        # Told of every call that has ended.
        self.observe: Final = observe
        self._credentials: Any = config.credentials
        self._queue = cygrpc.CompletionQueue()
        self._server = cygrpc.Server(server_options(config), False)
        self._server.register_completion_queue(self._queue)
        # Where core reads on threads of its own, there is nothing left to help with.
        self._reader: SocketReader | None = None
        self._accepting = False
        self._stopping = False
        self._listener_closed = False
        # Calls that have arrived and made no room yet for those to come.
        self._owed_accepts = 0
        # Events that are still to come from the queue, wake-ups apart.
        self._outstanding = 0
        self._deferred: list[Callable[[], None]] = []
        # Calls that were handled but not answered, of whose end we would not hear yet.
        self._unwatched: list[_CoreCall] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_ids = itertools.count()
        # Reentrant: a signal handler may wake the thread that is just waking itself.
        self._wake_lock = threading.RLock()
        self._wake_pending = False
        self._closed = False
        self._inbox: deque[Callable[[], None]] = deque()
        # A finished call through which other threads can put an event into the queue.
        self._wake_call = self_check(self._queue)
        # One object for good, so that the loop can tell it by identity.
        self._wake_tag = self._on_wake

    def listen(self, address: str, methods: Methods, private: str | None = None) -> int:
        """Bind and start accepting; several processes may share the port (SO_REUSEPORT)."""
        self._methods = {path.encode(): (path, method) for path, method in methods.items()}
        port = self._bind(address.encode())
        if not port:
            msg = f"cannot bind {address}: the address is in use or not of this machine"
            raise PortError(msg)
        # Before the start: core takes no further listener, and no further queue, after it.
        if private is not None and not self._server.add_http2_port(f"unix:{private}".encode()):
            msg = f"cannot bind the socket {private}: choose a shorter TMPDIR"
            raise PortError(msg)
        if reads_where_polled():
            queue = cygrpc.CompletionQueue()
            self._server.register_completion_queue(queue)
            self._reader = SocketReader(queue, _SHUTDOWN)
        self._server.start()
        self._accepting = True
        for _ in range(OUTSTANDING_ACCEPTS):
            self._accept()
        return port

    def _bind(self, address: bytes) -> int:
        port: int
        if self._credentials is None:
            port = self._server.add_http2_port(address)
        else:
            # What grpc.server does with credentials; there is no public way to core's own object.
            credentials = self._credentials._credentials  # noqa: SLF001
            port = self._server.add_http2_port(address, credentials)
        return port

    def run(self) -> None:
        """Poll until stopped and the last call has ended."""
        poll = self._queue.poll
        busy_events = empty_polls = 0
        while not (self._stopping and self._listener_closed and not self._outstanding):
            waiting = self._deferred or self._unwatched
            event = poll(0 if waiting else self._next_wake_up())
            if event.completion_type == _TIMEOUT:
                empty_polls += 1
                if waiting and empty_polls < EMPTY_POLLS:
                    continue
                if busy_events >= BUSY_EVENTS and self._reader is not None:
                    self._reader.help()
                busy_events = empty_polls = 0
                self._run_due_callbacks()
                continue
            empty_polls = 0
            busy_events += 1
            if busy_events == MAX_BUSY_EVENTS:
                busy_events = 0
                self._run_due_callbacks()
            tag = event.tag
            if tag is not self._wake_tag:
                self._outstanding -= 1
            if tag is not None:
                try:
                    tag(event)
                except Exception:  # noqa: BLE001  the polling thread must go on whatever a handler does
                    _log.exception("this is a bug: a handler raised")
        self._close()

    def defer(self, callback: Callable[[], None]) -> None:
        """Call back once the queue is empty."""
        self._deferred.append(callback)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call back after a delay. core's timers have millisecond granularity."""
        due = time.monotonic() + delay_s
        heapq.heappush(self._timers, (due, next(self._timer_ids), callback))

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        """Put a callback into the polling thread's hands, and wake it."""
        self._inbox.append(callback)
        with self._wake_lock:
            if self._wake_pending or self._closed:
                return
            self._wake_pending = True
            self._wake_call.start_server_batch((), self._wake_tag)

    def stop(self, grace_s: float) -> None:
        """Send GOAWAY, refuse new calls, and cancel those left after `grace_s`."""
        if self._stopping:
            return
        self._stopping = True
        if not self._accepting:
            # `listen` has failed: core refuses to close a listener that was never there.
            self._listener_closed = True
            return
        self._accepting = False
        self._outstanding += 1
        self._server.shutdown(self._queue, self._on_listener_closed)
        self.call_later(grace_s, self._server.cancel_all_calls)

    def reply_all(self, calls: Sequence[Call], messages: Sequence[bytes]) -> None:
        """Answer each call, of whatever kind, with its message and OK.

        Ours are counted together, a path at a time and before the first is sent: to count one is
        dearer than many a thing that is done for it.
        """
        if len(calls) == 1:
            calls[0].reply(messages[0])
            return
        paths = [call.path for call in calls if type(call) is _CoreCall and call.state == _OPEN]
        for path in set(paths):
            self.observe(path, 0, paths.count(path))
        for call, message in zip(calls, messages, strict=True):
            if type(call) is _CoreCall:
                call.send_answer(message)
            else:
                call.reply(message)

    def start_batch(
        self, call: Any, operations: tuple[Any, ...], tag: Callable[[Any], None] | None
    ) -> bool:
        """Start operations on a call; False when core refuses them, and no event will come."""
        if call.start_server_batch(operations, tag):
            return False
        self._outstanding += 1
        return True

    def watch_later(self, call: _CoreCall) -> None:
        """Ask for the end of a call, unless it is answered before the queue is empty."""
        self._unwatched.append(call)

    def _accept(self) -> None:
        self._server.request_call(self._queue, self._queue, self._on_arrival)
        self._outstanding += 1

    def _on_arrival(self, event: Any) -> None:
        if not event.success:
            return  # the listener is closing: no call came with this event
        # Room for others can wait until this one is answered, but not for long.
        self._owed_accepts += 1
        if self._owed_accepts >= MAX_OWED_ACCEPTS:
            self._pay_accepts()
        called = event.call_details.method
        served = self._methods.get(called)
        if served is None:
            call = _CoreCall(self, event, called.decode(errors="replace"))
            call.fail(StatusCode.UNIMPLEMENTED, f"unknown method {call.path}")
            return
        path, method = served
        # Gates come last: where there is none, nothing is spent on them.
        if isinstance(method, Unary):
            _CoreCall(self, event, path).start(method)
        elif isinstance(method, Stream):
            _CoreStream(self, event, path).start(method)
        else:
            self._start(event, path, method.choose(event.invocation_metadata))

    def _pay_accepts(self) -> None:
        owed, self._owed_accepts = self._owed_accepts, 0
        if self._accepting:
            for _ in range(owed):
                self._accept()

    def _start(self, event: Any, path: str, method: Unary | Stream) -> None:
        if isinstance(method, Unary):
            _CoreCall(self, event, path).start(method)
        else:
            _CoreStream(self, event, path).start(method)

    def _on_wake(self, _event: Any) -> None:
        with self._wake_lock:
            self._wake_pending = False
        while self._inbox:
            self._call(self._inbox.popleft())

    def _on_listener_closed(self, _event: Any) -> None:
        self._listener_closed = True

    def _next_wake_up(self) -> float:
        # core takes an absolute wall-clock time; counting from now keeps a clock jump harmless.
        delay_s = IDLE_POLL_S
        if self._timers:
            delay_s = min(delay_s, max(0.0, self._timers[0][0] - time.monotonic()))
        return time.time() + delay_s

    def _run_due_callbacks(self) -> None:
        deferred, self._deferred = self._deferred, []
        for callback in deferred:
            self._call(callback)
        while self._timers and self._timers[0][0] <= time.monotonic():
            self._call(heapq.heappop(self._timers)[2])
        unwatched, self._unwatched = self._unwatched, []
        for call in unwatched:
            call.watch()
        self._pay_accepts()

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:  # noqa: BLE001  the polling thread must go on whatever a callback does
            _log.exception("this is a bug: a callback raised")

    def _close(self) -> None:
        with self._wake_lock:
            self._closed = True
        self._server.destroy()
        self._queue.shutdown()
        while self._queue.poll(time.time() + 1).completion_type != _SHUTDOWN:
            pass
        if self._reader is not None:
            self._reader.close()


class _CoreCall:
    """A unary call: open, then answered, then closed; a second answer is a no-op.

    Of its end core tells with the answer. A call that waits is watched by a batch of operations of
    its own, so that nothing is computed for a caller who has gone.
    """

    __slots__ = (
        "_call",
        "_handle",
        "_transport",
        "_watched",
        "cancelled",
        "deadline",
        "path",
        "state",
    )

    def __init__(self, transport: CoreTransport, event: Any, path: str) -> None:
        self.path = path
        deadline: float = event.call_details.deadline
        self.deadline = deadline if deadline < _NO_DEADLINE else None
        self.cancelled = False
        self._transport = transport
        self._call = event.call
        self.state = _OPEN
        self._watched = False

    def start(self, method: Unary) -> None:
        """Ask for the message, then hand it to the method's handler."""
        self._handle = method.handle
        self._transport.start_batch(
            self._call, (cygrpc.ReceiveMessageOperation(_NO_FLAGS),), self._on_message
        )

    def watch(self) -> None:
        """Have core tell when the call is over, however it ends."""
        if not self._watched and self.state == _OPEN:
            self._watched = True
            self._transport.start_batch(
                self._call, (cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS),), self._on_close
            )

    def reply(self, message: bytes) -> None:
        """Answer with one message and OK."""
        if self.state == _OPEN:
            # Counted before it is sent: whoever has the answer finds it counted.
            self._transport.observe(self.path, 0)
            self.send_answer(message)

    def send_answer(self, message: bytes) -> None:
        """Answer with one message and OK; for who has counted the call."""
        if self.state != _OPEN:
            return
        self.state = _ANSWERED
        self._send(
            cygrpc.SendInitialMetadataOperation((), _NO_FLAGS),
            cygrpc.SendMessageOperation(message, _NO_FLAGS),
            cygrpc.SendStatusFromServerOperation((), 0, b"", _NO_FLAGS),
        )

    def fail(self, code: StatusCode, details: str, metadata: Metadata = ()) -> None:
        """End the call with an error."""
        if self.state != _OPEN:
            return
        self.state = _ANSWERED
        self._transport.observe(self.path, int(code))
        self._send(
            cygrpc.SendInitialMetadataOperation((), _NO_FLAGS),
            cygrpc.SendStatusFromServerOperation(
                tuple(metadata), int(code), shorten(details).encode(), _NO_FLAGS
            ),
        )

    def _send(self, *operations: Any) -> None:
        if self._watched:
            self._transport.start_batch(self._call, operations, None)
        else:
            close = cygrpc.ReceiveCloseOnServerOperation(_NO_FLAGS)
            self._transport.start_batch(self._call, (*operations, close), self._on_close)

    def _on_message(self, event: Any) -> None:
        message = event.batch_operations[0].message()
        if message is None:
            # Cancelled, or larger than allowed: core has answered, only the end is to be counted.
            self.watch()
            return
        try:
            self._handle(self, message)
        except Exception:  # noqa: BLE001  one call's fault must not end the loop
            _log.exception("%s failed", self.path)
            self.fail(StatusCode.INTERNAL, "internal error; the server's log has the details")
        if self.state == _OPEN:
            self._transport.watch_later(self)

    def _on_close(self, event: Any) -> None:
        self.cancelled = bool(event.batch_operations[-1].cancelled())
        if self.state == _OPEN:
            code = StatusCode.CANCELLED
            if self.deadline is not None and self.deadline <= time.time():
                code = StatusCode.DEADLINE_EXCEEDED
            self._transport.observe(self.path, int(code))
        self.state = _CLOSED


class _CoreStream(_CoreCall):
    """A call of many messages: one receive and one send in core's hands at a time."""

    def __init__(self, transport: CoreTransport, event: Any, path: str) -> None:
        super().__init__(transport, event, path)
        self.on_message: Callable[[bytes], None] = _ignore_message
        self.on_half_close: Callable[[], None] = _ignore
        self.on_close: Callable[[], None] = _ignore
        self._outbox: deque[bytes] = deque()
        self._sending = False
        # Told to read no further; and whether a read was left out for this, or for a full outbox.
        self._held = False
        self._paused = False
        self._finishing: tuple[StatusCode, str, Metadata] | None = None

    def start(self, method: Unary | Stream) -> None:
        """Open the stream, let the handler set its callbacks, then ask for the first message."""
        # First: the event comes when the call is over, however it ends.
        self.watch()
        self._transport.start_batch(
            self._call, (cygrpc.SendInitialMetadataOperation((), _NO_FLAGS),), None
        )
        assert isinstance(method, Stream)  # noqa: S101  the transport chose this class by it
        try:
            method.open(self)
        except Exception:  # noqa: BLE001  one call's fault must not end the loop
            _log.exception("%s failed", self.path)
            self.fail(StatusCode.INTERNAL, "internal error; the server's log has the details")
        if self.state == _OPEN:
            self._receive()

    def reply(self, message: bytes) -> None:
        """Send one message and end with OK."""
        self.send(message)
        self.finish()

    def send(self, message: bytes) -> None:
        """Queue one message."""
        if self.state == _OPEN and self._finishing is None:
            self._outbox.append(message)
            self._send_next()

    def finish(self) -> None:
        """End with OK after what is queued."""
        self._end(StatusCode.OK, "", ())

    def fail(self, code: StatusCode, details: str, metadata: Metadata = ()) -> None:
        """End with an error after what is queued."""
        self._end(code, details, metadata)

    def hold(self) -> None:
        """Read no further message for now."""
        self._held = True

    def resume(self) -> None:
        """Read on."""
        self._held = False
        if self._paused:
            self._read_on()

    def _read_on(self) -> None:
        if self.state != _OPEN:
            return
        self._paused = self._held or len(self._outbox) >= MAX_OUTBOX
        if not self._paused:
            self._receive()

    def _end(self, code: StatusCode, details: str, metadata: Metadata) -> None:
        if self.state == _OPEN and self._finishing is None:
            self._finishing = (code, details, metadata)
            self._send_next()

    def _send_next(self) -> None:
        if self._sending or self.state != _OPEN:
            return
        if self._outbox:
            self._sending = self._transport.start_batch(
                self._call,
                (cygrpc.SendMessageOperation(self._outbox.popleft(), _NO_FLAGS),),
                self._on_sent,
            )
        elif self._finishing is not None:
            code, details, metadata = self._finishing
            self.state = _ANSWERED
            # First, as for a unary call.
            self._transport.observe(self.path, int(code))
            self._transport.start_batch(
                self._call,
                (
                    cygrpc.SendStatusFromServerOperation(
                        tuple(metadata), int(code), shorten(details).encode(), _NO_FLAGS
                    ),
                ),
                None,
            )

    def _on_sent(self, _event: Any) -> None:
        self._sending = False
        self._send_next()
        if self._paused:
            self._read_on()

    def _receive(self) -> None:
        self._transport.start_batch(
            self._call, (cygrpc.ReceiveMessageOperation(_NO_FLAGS),), self._on_message
        )

    def _on_message(self, event: Any) -> None:
        message = event.batch_operations[0].message()
        try:
            if message is None:
                self.on_half_close()
            else:
                self.on_message(message)
        except Exception:  # noqa: BLE001  one call's fault must not end the loop
            _log.exception("%s failed", self.path)
            self.fail(StatusCode.INTERNAL, "internal error; the server's log has the details")
            return
        if message is not None:
            self._read_on()

    def _on_close(self, event: Any) -> None:
        super()._on_close(event)
        self._outbox.clear()
        self.on_close()


def self_check(queue: Any) -> Any:
    """Answer one call over a private socket, exactly as real calls are; return the finished call.

    Raises RuntimeError when grpcio does not behave as this module expects.
    """
    deadline = time.time() + SELF_CHECK_TIMEOUT_S
    server = cygrpc.Server([(b"grpc.so_reuseport", 0)], False)
    server.register_completion_queue(queue)
    with tempfile.TemporaryDirectory(prefix="isotherm-") as folder:
        address = f"unix:{folder}/check"
        if not server.add_http2_port(address.encode()):
            msg = f"the self-check cannot bind {address}"
            raise RuntimeError(msg)
        server.start()
        try:
            call = _answer_one(server, queue, address, deadline)
        finally:
            # Also after a failure: a queue with events to come would hang the process at exit.
            server.shutdown(queue, "shutdown")
            server.cancel_all_calls()
            _drain(queue, "shutdown", deadline)
            server.destroy()
    # Wake-ups are empty batches on this call, so prove one now.
    _start(call, "wake")
    _expect(queue, "wake", deadline)
    return call


def _answer_one(server: Any, queue: Any, address: str, deadline: float) -> Any:
    server.request_call(queue, queue, "arrival")
    with grpc.insecure_channel(address) as channel:
        echo: grpc.UnaryUnaryMultiCallable[bytes, bytes]
        echo = channel.unary_unary("/isotherm.SelfCheck/Echo")
        future = echo.future(b"ping", timeout=SELF_CHECK_TIMEOUT_S)
        call = _expect(queue, "arrival", deadline).call
        _start(call, cygrpc.ReceiveMessageOperation(_NO_FLAGS), "message")
        message = _expect(queue, "message", deadline).batch_operations[0].message()
        _start(
            call,
            cygrpc.SendInitialMetadataOperation((), _NO_FLAGS),
            cygrpc.SendMessageOperation(message, _NO_FLAGS),
            cygrpc.SendStatusFromServerOperation((), 0, b"", _NO_FLAGS),
            "answer",
        )
        _expect(queue, "answer", deadline)
        if future.result() != b"ping":
            msg = "the self-check's answer differs from its request"
            raise RuntimeError(msg)
    return call


def _drain(queue: Any, last_tag: str, deadline: float) -> None:
    while (event := queue.poll(deadline)).completion_type != _TIMEOUT and event.tag != last_tag:
        pass


def _start(call: Any, *operations_and_tag: Any) -> None:
    *operations, tag = operations_and_tag
    error = call.start_server_batch(tuple(operations), tag)
    if error:
        msg = f"the self-check's '{tag}' was refused with {error}"
        raise RuntimeError(msg)


def _expect(queue: Any, tag: str, deadline: float) -> Any:
    event = queue.poll(deadline)
    if event.completion_type == _TIMEOUT or event.tag != tag or not event.success:
        msg = f"the self-check waited for '{tag}' and got {event!r}"
        raise RuntimeError(msg)
    return event


def _ignore() -> None:
    pass


def _ignore_message(_message: bytes) -> None:
    pass
