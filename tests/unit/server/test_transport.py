"""Both transports through the same tests: a real client on a real socket."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from isotherm.server.errors import PortError
from isotherm.server.transport.call import (
    MAX_DETAILS_BYTES,
    Call,
    Metadata,
    StatusCode,
    Stream,
    StreamCall,
    TransportConfig,
    Unary,
    shorten,
)
from isotherm.server.transport.choose import choose_transport
from tests.unit.server.serving import PATIENCE_S, Name, Serving, serving

INTERNAL_TEXT = "internal error; the server's log has the details"


class Holder:
    """Keeps the calls it gets open, until the test ends them."""

    def __init__(self) -> None:
        self.calls: queue.SimpleQueue[Call] = queue.SimpleQueue()

    def handle(self, call: Call, _message: bytes) -> None:
        self.calls.put(call)

    def next(self) -> Call:
        return self.calls.get(timeout=PATIENCE_S)


class Wrapped:
    """A call in a wrapper, as a traced one is; notes how many were counted when it is answered."""

    def __init__(self, call: Call, server: Serving) -> None:
        self._call, self._server = call, server
        self.path, self.deadline, self.cancelled = call.path, call.deadline, call.cancelled
        self.counted = 0

    def reply(self, message: bytes) -> None:
        self.counted = self._server.ended.qsize()
        self._call.reply(message)

    def fail(self, code: StatusCode, details: str, metadata: Metadata = ()) -> None:
        self._call.fail(code, details, metadata)


def echo(call: Call, message: bytes) -> None:
    call.reply(message)


def refuse(call: Call, message: bytes) -> None:
    call.fail(
        StatusCode.RESOURCE_EXHAUSTED,
        message.decode(),
        (("grpc-retry-pushback-ms", "37"), ("reason", "full")),
    )


def explode(_call: Call, _message: bytes) -> None:
    msg = "a secret"
    raise ValueError(msg)


def answer_twice(call: Call, message: bytes) -> None:
    call.reply(message)
    call.reply(b"second")
    call.fail(StatusCode.INTERNAL, "third")


def fail_twice(call: Call, _message: bytes) -> None:
    call.fail(StatusCode.ABORTED, "first")
    call.fail(StatusCode.INTERNAL, "second")
    call.reply(b"third")


def chat(call: StreamCall) -> None:
    call.on_message = lambda message: call.send(message.upper())
    call.on_half_close = call.finish


def count(call: StreamCall) -> None:
    """Answer a number with that many messages, then end; what comes after the end is ignored."""

    def start(message: bytes) -> None:
        for number in range(int(message)):
            call.send(b"%d" % number)
        call.finish()
        call.send(b"too late")
        call.fail(StatusCode.INTERNAL, "too late")

    call.on_message = start


def refuse_stream(call: StreamCall) -> None:
    call.send(b"one")
    call.fail(StatusCode.NOT_FOUND, "no more", (("reason", "gone"),))


def explode_on_open(_call: StreamCall) -> None:
    msg = "a secret"
    raise ValueError(msg)


def explode_on_message(call: StreamCall) -> None:
    call.on_message = lambda _message: explode(call, b"")


def explode_on_half_close(call: StreamCall) -> None:
    call.on_half_close = lambda: explode(call, b"")


METHODS: dict[str, Unary | Stream] = {
    "/t/Echo": Unary(echo),
    "/t/Refuse": Unary(refuse),
    "/t/Explode": Unary(explode),
    "/t/AnswerTwice": Unary(answer_twice),
    "/t/FailTwice": Unary(fail_twice),
    "/t/Chat": Stream(chat),
    "/t/Count": Stream(count),
    "/t/RefuseStream": Stream(refuse_stream),
    "/t/ExplodeOnOpen": Stream(explode_on_open),
    "/t/ExplodeOnMessage": Stream(explode_on_message),
    "/t/ExplodeOnHalfClose": Stream(explode_on_half_close),
}


@pytest.fixture(name="name", params=["core", "aio"])
def _name(request: pytest.FixtureRequest) -> Name:
    """Each transport in turn."""
    name: Name = request.param
    return name


@pytest.fixture(name="holder")
def _holder() -> Holder:
    """What keeps calls open."""
    return Holder()


@pytest.fixture(name="server")
def _server(name: Name, holder: Holder) -> Iterator[Serving]:
    """A running transport with the methods above."""
    options = (("grpc.max_receive_message_length", -1),)
    hold = Unary(holder.handle)
    methods = METHODS | {"/t/Hold": hold, "/t/HoldToo": hold}
    with serving(name, methods, options=options) as server:
        yield server


def stream(server: Serving, path: str, *messages: bytes) -> Any:
    """Open a stream that sends messages and half-closes."""
    return server.stream(path)(iter(messages), timeout=PATIENCE_S)


def stream_error(responses: Any) -> grpc.Call:
    """Read a stream that fails to its end; return the error."""
    with pytest.raises(grpc.RpcError) as caught:
        list(responses)
    error: Any = caught.value
    assert isinstance(error, grpc.Call)
    return error


@pytest.mark.parametrize("message", [b"", b"hello", b"\x00\xff" * 1000])
def test_a_unary_call_is_answered(server: Serving, message: bytes):
    """An empty message is a message."""
    assert server.call("/t/Echo", message) == message
    assert server.next_ended() == ("/t/Echo", 0)


def test_a_message_of_8_mib_comes_and_goes(server: Serving):
    """There is no limit on a message but the queue's."""
    message = bytes(range(256)) * (8 << 12)

    assert server.call("/t/Echo", message) == message


def test_a_compressed_request_is_understood(server: Serving):
    """Handlers see the plain message."""
    message = b"again and " * 10_000
    answer = server.unary("/t/Echo")(message, timeout=PATIENCE_S, compression=grpc.Compression.Gzip)

    assert answer == message


def test_an_error_carries_its_text_and_metadata(server: Serving):
    """Text may be any Unicode; trailers reach the caller."""
    error = server.error("/t/Refuse", "voll: größer".encode())
    trailers = {pair[0]: pair[1] for pair in error.trailing_metadata() or ()}

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.details() == "voll: größer"
    assert trailers["reason"] == "full"
    assert trailers["grpc-retry-pushback-ms"] == "37"
    assert server.next_ended() == ("/t/Refuse", 8)


def test_a_long_error_text_is_cut(server: Serving):
    """Or the client would refuse the trailer, and show its own error instead."""
    error = server.error("/t/Refuse", ("ü" * 20_000).encode())

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.details() == "ü" * 510 + "..."


@pytest.mark.parametrize("length", [0, 1, 1023, 1024])
def test_a_text_that_fits_is_left_alone(length: int):
    """The limit counts bytes."""
    assert shorten("x" * length) == "x" * length


@pytest.mark.parametrize("text", ["x" * 1025, "ü" * 513, "\N{SNOWMAN}" * 400, "x" + "😀" * 400])
def test_a_cut_text_fits_and_is_cut_between_characters(text: str):
    """No half of a character is sent."""
    short = shorten(text)

    assert MAX_DETAILS_BYTES - 6 <= len(short.encode()) <= MAX_DETAILS_BYTES
    assert text.startswith(short.removesuffix("..."))


def test_an_unknown_method_is_unimplemented(server: Serving):
    """The text names it."""
    error = server.error("/t/Nothing")

    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert error.details() == "unknown method /t/Nothing"
    assert server.next_ended() == ("/t/Nothing", 12)


def test_an_exception_in_a_handler_is_answered_with_a_fixed_text(server: Serving, caplog):
    """Nothing of it leaks to the caller; the log has it, and the loop goes on."""
    error = server.error("/t/Explode")

    assert error.code() is grpc.StatusCode.INTERNAL
    assert error.details() == INTERNAL_TEXT
    assert "a secret" in caplog.text
    assert server.call("/t/Echo", b"alive") == b"alive"


def test_answering_twice_is_a_no_op(server: Serving):
    """The first answer counts, and is counted once."""
    assert server.call("/t/AnswerTwice", b"first") == b"first"
    assert server.error("/t/FailTwice").details() == "first"
    assert [server.next_ended(), server.next_ended()] == [
        ("/t/AnswerTwice", 0),
        ("/t/FailTwice", 10),
    ]
    assert server.ended.empty()


def test_a_caller_without_a_deadline_has_none(server: Serving, holder: Holder):
    """Then nothing expires."""
    future = server.unary("/t/Hold").future(b"")
    call = holder.next()
    deadline = call.deadline
    server.on_loop(lambda: call.reply(b"done"))

    assert future.result(PATIENCE_S) == b"done"
    assert deadline is None


def test_the_deadline_is_known_in_wall_clock_time(server: Serving, holder: Holder):
    """Batching compares it with time.time()."""
    before = time.time()
    future = server.unary("/t/Hold").future(b"", timeout=300)
    call = holder.next()
    server.on_loop(lambda: call.reply(b"done"))

    assert future.result(PATIENCE_S) == b"done"
    assert call.deadline is not None
    assert before + 299 <= call.deadline <= time.time() + 301


def test_a_caller_that_goes_is_seen(server: Serving, holder: Holder):
    """The call says that it is cancelled, and is counted; a late answer is a no-op."""
    future = server.unary("/t/Hold").future(b"", timeout=PATIENCE_S)
    call = holder.next()
    future.cancel()

    assert server.next_ended() == ("/t/Hold", 1)
    assert call.cancelled
    server.on_loop(lambda: call.reply(b"late"))
    server.on_loop(lambda: call.fail(StatusCode.INTERNAL, "later"))
    assert server.call("/t/Echo", b"alive") == b"alive"
    assert server.next_ended() == ("/t/Echo", 0)


def test_a_deadline_that_passes_is_seen(server: Serving, holder: Holder):
    """The client's clock and ours may differ by a moment, so either word for it is right."""
    future = server.unary("/t/Hold").future(b"", timeout=0.2)
    call = holder.next()
    path, code = server.next_ended()
    error = future.exception(PATIENCE_S)

    assert isinstance(error, grpc.Call)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert (path, code in {1, 4}) == ("/t/Hold", True)
    assert call.cancelled


def test_thousands_of_calls_wait_and_none_is_killed(server: Serving, holder: Holder):
    """A busy loop finds them all when it comes back: core must not shed load by itself."""
    calls = 2500
    release = threading.Event()

    def block() -> None:
        release.wait(PATIENCE_S)

    def answer() -> None:
        for call in held:
            call.reply(b"done")

    server.transport.call_soon_threadsafe(block)
    hold = server.unary("/t/Hold")
    futures = [hold.future(b"%d" % number, timeout=PATIENCE_S) for number in range(calls)]
    release.set()
    held = [holder.next() for _ in futures]
    server.on_loop(answer)

    assert [future.result(PATIENCE_S) for future in futures] == [b"done"] * calls


@pytest.mark.parametrize("count", [1, 2, 20])
def test_calls_that_are_answered_together_are_counted_one_by_one(
    server: Serving, holder: Holder, count: int
):
    """Each has its own answer, and each path its own count."""
    paths = ["/t/Hold", "/t/HoldToo"]
    futures = [
        server.unary(paths[number % 2]).future(b"%d" % number, timeout=PATIENCE_S)
        for number in range(count)
    ]
    calls = [holder.next() for _ in futures]
    answers = [call.path.encode() for call in calls]
    server.on_loop(lambda: server.transport.reply_all(calls, answers))

    for number, future in enumerate(futures):
        assert future.result(PATIENCE_S) == paths[number % 2].encode()
    ended = sorted(server.next_ended() for _ in futures)
    assert ended == sorted((paths[number % 2], 0) for number in range(count))
    assert server.ended.empty()


def test_a_caller_who_has_gone_is_not_counted_with_those_that_are_answered(
    server: Serving, holder: Holder
):
    """It was, when it went."""
    futures = [server.unary("/t/Hold").future(b"", timeout=PATIENCE_S) for _ in range(3)]
    calls = [holder.next() for _ in futures]
    futures[0].cancel()
    assert server.next_ended() == ("/t/Hold", 1)
    gone = [call for call in calls if call.cancelled]
    server.on_loop(lambda: server.transport.reply_all(calls, [b"done"] * 3))

    assert [future.result(PATIENCE_S) for future in futures[1:]] == [b"done"] * 2
    assert [server.next_ended(), server.next_ended()] == [("/t/Hold", 0)] * 2
    assert len(gone) == 1
    assert server.ended.empty()


def test_calls_that_are_answered_together_are_counted_before_the_first_is_sent(holder: Holder):
    """A worker that is killed between two answers has counted both, also around a wrapped call."""
    with serving("core", {"/t/Hold": Unary(holder.handle)}) as server:
        futures = [server.unary("/t/Hold").future(b"", timeout=PATIENCE_S) for _ in range(4)]
        calls: list[Call] = [holder.next() for _ in futures]
        calls[0] = wrapped = Wrapped(calls[0], server)
        server.on_loop(lambda: server.transport.reply_all(calls, [b"done"] * 4))

        assert [future.result(PATIENCE_S) for future in futures] == [b"done"] * 4
        assert wrapped.counted == 3
        assert server.ended.qsize() == 4


def test_a_stream_answers_message_by_message(server: Serving):
    """Messages come in order, and the stream ends when the caller does."""
    responses = stream(server, "/t/Chat", b"a", b"", b"c")

    assert list(responses) == [b"A", b"", b"C"]
    assert responses.code() is grpc.StatusCode.OK
    # Whoever sees the end finds it counted.
    assert server.ended.get_nowait() == ("/t/Chat", 0)


def test_a_stream_is_a_conversation(server: Serving):
    """The second message is sent after the first answer was read."""
    outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    responses = server.stream("/t/Chat")(iter(outbox.get, None), timeout=PATIENCE_S)
    heard = []
    for word in (b"one", b"two", b"three"):
        outbox.put(word)
        heard.append(next(responses))
    outbox.put(None)

    assert heard == [b"ONE", b"TWO", b"THREE"]
    assert list(responses) == []


def test_a_server_may_send_many_messages_and_end_early(server: Serving):
    """They arrive in order; what is sent after the end is not."""
    responses = stream(server, "/t/Count", b"1000")

    assert list(responses) == [b"%d" % number for number in range(1000)]
    assert responses.code() is grpc.StatusCode.OK


def test_a_stream_may_send_more_than_the_caller_has_read(name: Name):
    """Large messages wait in the transport, not in core's hands."""

    def send_much(call: StreamCall) -> None:
        for number in range(4):
            call.send(bytes([number]) * (3 << 20))
        call.finish()

    with serving(name, {"/t/Much": Stream(send_much)}) as server:
        responses = stream(server, "/t/Much")

        assert [(len(part), part[0]) for part in responses] == [(3 << 20, n) for n in range(4)]


def test_a_stream_may_end_with_an_error(server: Serving):
    """What was sent before it arrives."""
    responses = stream(server, "/t/RefuseStream")
    first = next(responses)
    error = stream_error(responses)

    assert first == b"one"
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no more")
    assert ("reason", "gone") in [tuple(pair) for pair in error.trailing_metadata() or ()]
    assert server.next_ended() == ("/t/RefuseStream", 5)


def test_a_stream_may_be_answered_with_one_message(name: Name):
    """`reply` is a message and the end."""

    def reply(call: StreamCall) -> None:
        call.on_message = call.reply

    with serving(name, {"/t/Reply": Stream(reply)}) as server:
        assert list(stream(server, "/t/Reply", b"x")) == [b"x"]


@pytest.mark.parametrize(
    "path", ["/t/ExplodeOnOpen", "/t/ExplodeOnMessage", "/t/ExplodeOnHalfClose"]
)
def test_an_exception_in_a_stream_is_answered_with_a_fixed_text(server: Serving, caplog, path: str):
    """As in a unary call, whichever callback it comes from."""
    error = stream_error(stream(server, path, b"x"))

    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, INTERNAL_TEXT)
    assert "a secret" in caplog.text
    assert server.next_ended() == (path, 13)
    assert server.call("/t/Echo", b"alive") == b"alive"


@pytest.mark.parametrize("sends", [True, False])
def test_a_stream_whose_caller_goes_is_closed_once(name: Name, sends: bool):
    """The handler is told, so that it can forget the call; sending on is a no-op."""
    opened: queue.SimpleQueue[StreamCall] = queue.SimpleQueue()
    closed: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def open_stream(call: StreamCall) -> None:
        call.on_close = lambda: closed.put(call.cancelled)
        if sends:
            call.send(b"hello")
        opened.put(call)

    outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    with serving(name, {"/t/Open": Stream(open_stream)}) as server:
        responses = server.stream("/t/Open")(iter(outbox.get, None))
        call = opened.get(timeout=PATIENCE_S)
        if sends:
            assert next(responses) == b"hello"
        responses.cancel()
        outbox.put(None)

        assert closed.get(timeout=PATIENCE_S) is True
        assert server.next_ended() == ("/t/Open", 1)
        server.on_loop(lambda: call.send(b"late"))
        server.on_loop(call.finish)
        assert closed.empty()


def test_a_stream_that_ends_well_is_closed_once(name: Name):
    """And was not cancelled."""
    closed: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def open_stream(call: StreamCall) -> None:
        call.on_close = lambda: closed.put(call.cancelled)
        chat(call)

    with serving(name, {"/t/Open": Stream(open_stream)}) as server:
        assert list(stream(server, "/t/Open", b"x")) == [b"X"]
        assert closed.get(timeout=PATIENCE_S) is False
    assert closed.empty()


def test_another_thread_can_call_back(server: Serving):
    """The callback runs on the transport's thread, soon, in order."""
    seen: list[int] = []
    threads: set[threading.Thread] = set()

    def note(number: int) -> Callable[[], None]:
        def callback() -> None:
            seen.append(number)
            threads.add(threading.current_thread())

        return callback

    for number in range(100):
        server.transport.call_soon_threadsafe(note(number))
    server.on_loop(lambda: None)

    assert seen == list(range(100))
    assert threads == {server.thread}


def test_many_threads_can_call_back_at_once(server: Serving):
    """No wake-up is lost."""
    seen: queue.SimpleQueue[int] = queue.SimpleQueue()

    def post() -> None:
        for number in range(200):
            server.transport.call_soon_threadsafe(partial(seen.put, number))

    threads = [threading.Thread(target=post) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(seen.get(timeout=PATIENCE_S) for _ in range(800)) == sorted(4 * [*range(200)])


def test_timers_run_in_the_order_they_are_due(server: Serving):
    """Not in the order they were set; equal ones in that order."""
    seen: queue.SimpleQueue[str] = queue.SimpleQueue()

    def start() -> None:
        for delay_s, text in ((0.03, "late"), (0.0, "now"), (0.01, "soon"), (0.0, "now too")):
            server.transport.call_later(delay_s, partial(seen.put, text))

    server.on_loop(start)

    assert [seen.get(timeout=PATIENCE_S) for _ in range(4)] == ["now", "now too", "soon", "late"]


def test_a_timer_does_not_come_early(server: Serving):
    """Half a millisecond apart at most."""
    seen: queue.SimpleQueue[float] = queue.SimpleQueue()
    started: list[float] = []

    def start() -> None:
        started.append(time.monotonic())
        server.transport.call_later(0.02, lambda: seen.put(time.monotonic()))

    server.on_loop(start)

    assert seen.get(timeout=PATIENCE_S) - started[0] >= 0.0195


def test_what_is_deferred_runs_after_what_has_arrived(server: Serving):
    """In order; and what a deferred callback defers comes after."""
    seen: queue.SimpleQueue[str] = queue.SimpleQueue()

    def start() -> None:
        server.transport.defer(lambda: seen.put("first"))
        server.transport.defer(lambda: server.transport.defer(lambda: seen.put("third")))
        server.transport.defer(lambda: seen.put("second"))
        seen.put("at once")

    server.on_loop(start)

    assert [seen.get(timeout=PATIENCE_S) for _ in range(4)] == [
        "at once",
        "first",
        "second",
        "third",
    ]


@pytest.mark.parametrize("way", ["defer", "call_later", "call_soon_threadsafe"])
def test_a_callback_that_raises_takes_no_other_with_it(server: Serving, caplog, way: str):
    """It is logged; its neighbours and the loop go on."""
    seen: queue.SimpleQueue[str] = queue.SimpleQueue()
    schedule = {
        "defer": server.transport.defer,
        "call_later": lambda callback: server.transport.call_later(0.0, callback),
        "call_soon_threadsafe": server.transport.call_soon_threadsafe,
    }[way]

    def fail() -> None:
        msg = "a secret"
        raise ValueError(msg)

    def start() -> None:
        schedule(fail)
        schedule(lambda: seen.put("neighbour"))

    server.on_loop(start)

    assert seen.get(timeout=PATIENCE_S) == "neighbour"
    assert "a secret" in caplog.text
    assert server.call("/t/Echo", b"alive") == b"alive"


def test_stopping_lets_calls_in_flight_end(server: Serving, holder: Holder):
    """New ones are refused, the old one is answered, then the transport ends."""
    future = server.unary("/t/Hold").future(b"", timeout=PATIENCE_S)
    call = holder.next()
    server.stop(PATIENCE_S)
    error = server.first_error("/t/Echo")
    ran_on = server.thread.is_alive()
    server.on_loop(lambda: call.reply(b"still answered"))
    server.join()

    assert error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert ran_on
    assert future.result(PATIENCE_S) == b"still answered"


def test_stopping_cancels_what_is_left_after_the_grace(server: Serving, holder: Holder):
    """A caller that waits for ever does not hold the server for ever."""
    future = server.unary("/t/Hold").future(b"")
    call = holder.next()
    server.stop(0.05)
    server.join()
    error = future.exception(PATIENCE_S)

    assert isinstance(error, grpc.Call)
    assert error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
    assert call.cancelled


def test_an_open_stream_is_cancelled_after_the_grace(name: Name):
    """Its handler is told."""
    opened, closed = threading.Event(), threading.Event()

    def open_stream(call: StreamCall) -> None:
        call.on_close = closed.set
        opened.set()

    outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    with serving(name, {"/t/Open": Stream(open_stream)}) as server:
        responses = server.stream("/t/Open")(iter(outbox.get, None))
        assert opened.wait(PATIENCE_S)
        server.stop(0.05)
        server.join()
        outbox.put(None)

        assert stream_error(responses).code() in {
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.CANCELLED,
        }
        assert closed.is_set()


def test_stopping_twice_is_stopping(server: Serving):
    """The first grace counts."""
    server.stop(0.0)
    server.stop(PATIENCE_S)
    server.join()

    assert not server.thread.is_alive()


def test_a_callback_after_the_end_is_ignored(server: Serving):
    """An executor's last word may come late; the process must not die of it."""
    server.stop()
    server.join()
    server.transport.call_soon_threadsafe(lambda: None)

    assert not server.thread.is_alive()


def test_connections_live_no_longer_than_they_are_told(name: Name):
    """Any length of time is taken, also one beyond what core can count."""
    for age_s in (0.5, 1e9):
        config = TransportConfig(max_connection_age_s=age_s, grace_s=1e9)
        with serving(name, METHODS, config=config) as server:
            assert server.call("/t/Echo", b"x") == b"x"


def listen(name: Name, address: str) -> int:
    """Bind a transport on a thread's own, and run it to its end; return the port."""
    _, transport = choose_transport(name, lambda *_ended: None, TransportConfig())
    try:
        return transport.listen(address, METHODS)
    finally:
        transport.call_soon_threadsafe(lambda: transport.stop(0.0))
        transport.run()


def test_a_private_socket_is_served_beside_the_port(name: Name, tmp_path: Path):
    """The same methods, also where a dead brother has left his socket; both end together."""
    private = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(private))
    with serving(name, METHODS, private=str(private)) as server:
        with grpc.insecure_channel(f"unix:{private}") as channel:
            echo: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/t/Echo")
            answer = echo(b"x", timeout=PATIENCE_S)
        both = server.call("/t/Echo", b"y")
        server.stop()
        server.join()
        with grpc.insecure_channel(f"unix:{private}") as channel:
            echo = channel.unary_unary("/t/Echo")
            gone = echo.future(b"x", timeout=PATIENCE_S).exception()

    assert (answer, both) == (b"x", b"y")
    assert isinstance(gone, grpc.RpcError)


def test_a_private_socket_with_too_long_a_path_is_an_error(name: Name, tmp_path: Path):
    """The kernel takes some hundred characters; the text says what to do."""
    with (
        pytest.raises(PortError, match=r"cannot bind the socket .*: choose a shorter TMPDIR"),
        serving(name, METHODS, private=f"{tmp_path}/{'x' * 120}"),
    ):
        pass


def test_a_port_that_someone_holds_alone_is_an_error(name: Name):
    """The text names the address."""
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        address = "{}:{}".format(*stranger.getsockname())
        with pytest.raises(PortError, match=f"cannot bind {address}"):
            listen(name, address)


def test_a_port_that_a_brother_shares_is_shared(name: Name):
    """Workers listen side by side (SO_REUSEPORT); the supervisor guards against strangers."""
    with serving(name, METHODS) as server:
        assert listen(name, f"127.0.0.1:{server.port}") == server.port


def test_an_address_of_another_machine_is_an_error(name: Name):
    """192.0.2.1 is nobody's (RFC 5737)."""
    with pytest.raises(PortError, match=r"cannot bind 192\.0\.2\.1:0"):
        listen(name, "192.0.2.1:0")
