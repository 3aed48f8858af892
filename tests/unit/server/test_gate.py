"""Gates: which method a call gets, by its metadata, before any of its messages is read."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from isotherm.server.transport.call import (
    Call,
    Gate,
    Metadata,
    StatusCode,
    Stream,
    StreamCall,
    Unary,
)
from tests.unit.server.serving import PATIENCE_S, Name, Serving, serving

KEY = (("key", "right"),)


def echo(call: Call, message: bytes) -> None:
    call.reply(message)


def chat(call: StreamCall) -> None:
    call.on_message = call.send
    call.on_half_close = call.finish


REFUSE = Stream(lambda call: call.fail(StatusCode.UNAUTHENTICATED, "who are you?"))


def gate(method: Unary | Stream) -> Gate:
    """Return a gate that opens to those who have the key."""

    def choose(metadata: Metadata) -> Unary | Stream:
        return method if ("key", "right") in [tuple(pair) for pair in metadata] else REFUSE

    return Gate(choose)


METHODS = {"/t/Echo": gate(Unary(echo)), "/t/Chat": gate(Stream(chat))}


@pytest.fixture(name="server", params=["core", "aio"])
def _server(request: pytest.FixtureRequest) -> Iterator[Serving]:
    """Each transport in turn."""
    name: Name = request.param
    with serving(name, METHODS) as server:
        yield server


def test_a_gate_opens_a_unary_method(server: Serving):
    """The call goes on as if there were no gate."""
    answer = server.unary("/t/Echo")(b"x", metadata=KEY, timeout=PATIENCE_S)

    assert (answer, server.next_ended()) == (b"x", ("/t/Echo", 0))


def test_a_gate_opens_a_stream(server: Serving):
    """All its messages pass."""
    answers = server.stream("/t/Chat")(iter([b"a", b"b"]), metadata=KEY, timeout=PATIENCE_S)

    assert list(answers) == [b"a", b"b"]


@pytest.mark.parametrize("size", [0, 1, 3 << 20])
def test_a_closed_gate_ends_a_unary_call(server: Serving, size: int):
    """However large its message is; and the call is counted."""
    error = server.error("/t/Echo", bytes(size))

    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert error.details() == "who are you?"
    assert server.next_ended() == ("/t/Echo", int(StatusCode.UNAUTHENTICATED))


def test_a_closed_gate_ends_a_stream(server: Serving):
    """The caller need not send anything."""
    forever: Iterator[bytes] = iter(lambda: b"x", None)
    call = server.stream("/t/Chat")(forever, timeout=PATIENCE_S)
    with pytest.raises(grpc.RpcError):
        list(call)

    assert call.code() is grpc.StatusCode.UNAUTHENTICATED


def test_many_refusals_leave_nothing_behind(server: Serving):
    """The server then stops as any other does."""
    codes = {server.error("/t/Echo", b"x").code() for _ in range(200)}
    server.stop()
    server.join()

    assert codes == {grpc.StatusCode.UNAUTHENTICATED}
