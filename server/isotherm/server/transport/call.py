"""What a handler sees of a call, whichever transport carries it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import grpc


class StatusCode(IntEnum):
    """gRPC status codes, as numbered on the wire."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


# Messages that may wait for a slow reader; then no more of its own are read.
MAX_OUTBOX = 64
# Headers and trailers together may take 16 KiB before a client refuses them.
MAX_DETAILS_BYTES = 1024

Metadata = Sequence[tuple[str, str]]


class Call(Protocol):
    """One call, used on the transport's thread only. Answering twice is a no-op."""

    path: str
    # Absolute, as time.time(); None when the caller set none.
    deadline: float | None

    @property
    def cancelled(self) -> bool:
        """True once the caller has gone, or its deadline has passed."""
        ...

    def reply(self, message: bytes) -> None:
        """Answer a unary call with one message and OK."""

    def fail(self, code: StatusCode, details: str, metadata: Metadata = ()) -> None:
        """End the call with an error."""


class StreamCall(Call, Protocol):
    """A call of many messages either way. The handler sets the callbacks when it is opened."""

    on_message: Callable[[bytes], None]
    # The caller will send no more; also the first sign of a cancelled stream.
    on_half_close: Callable[[], None]
    # The call is over, however it ended.
    on_close: Callable[[], None]

    def send(self, message: bytes) -> None:
        """Queue one message to the caller."""

    def finish(self) -> None:
        """End with OK after the messages queued so far."""

    def hold(self) -> None:
        """Read no further message until `resume`; the caller's own flow control then holds it."""

    def resume(self) -> None:
        """Read on."""


@dataclass(frozen=True, slots=True)
class Unary:
    """A method with one message each way; `handle(call, message)` must see that it is answered."""

    handle: Callable[[Call, bytes], None]


@dataclass(frozen=True, slots=True)
class Stream:
    """A method with many messages either way; `open(call)` sets the call's callbacks."""

    open: Callable[[StreamCall], None]


@dataclass(frozen=True, slots=True)
class Gate:
    """A method that depends on who calls: `choose(metadata)` returns it, before any message."""

    choose: Callable[[Metadata], Unary | Stream]


# By full path, such as "/inference.GRPCInferenceService/ModelInfer".
Methods = Mapping[str, Unary | Stream | Gate]


class Observer(Protocol):
    """Told of every call that has ended; of several at once where path and code are the same."""

    def __call__(self, path: str, code: int, calls: int = 1, /) -> None:
        """Count calls that have ended, or are about to."""


# Answers each of the calls with its message and OK.
ReplyAll = Callable[[Sequence[Call], Sequence[bytes]], None]


def reply_each(calls: Sequence[Call], messages: Sequence[bytes]) -> None:
    """Answer calls one by one."""
    for call, message in zip(calls, messages, strict=True):
        call.reply(message)


@dataclass(frozen=True, kw_only=True, slots=True)
class TransportConfig:
    """What both transports can be told; a limit of 0 is none."""

    # None serves without TLS.
    credentials: grpc.ServerCredentials | None = None
    max_message_bytes: int = 0
    max_concurrent_streams: int = 0
    max_connections: int = 0
    max_connection_idle_s: float = 0.0
    max_connection_age_s: float = 0.0
    keepalive_time_s: float = 0.0
    keepalive_timeout_s: float = 20.0
    grace_s: float = 30.0


class Loop(Protocol):
    """The transport's thread as its users see it."""

    def defer(self, callback: Callable[[], None]) -> None:
        """Call back once everything that has arrived so far is handled."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call back after a delay, to the millisecond."""

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        """Call back soon; the only method that other threads and signal handlers may use."""


class Transport(Loop, Protocol):
    """A gRPC server. Everything runs on the thread that calls `run`."""

    def listen(self, address: str, methods: Methods, private: str | None = None) -> int:
        """Bind "host:port" and serve `methods` there; return the port, or raise PortError.

        `private` is the path of a unix socket where they are served too, without TLS: who may
        connect there is the file system's to say.
        """
        ...

    def reply_all(self, calls: Sequence[Call], messages: Sequence[bytes]) -> None:
        """Answer each call, of whatever kind, with its message and OK."""

    def run(self) -> None:
        """Serve until `stop` has been called and the last call has ended."""

    def stop(self, grace_s: float) -> None:
        """Refuse new calls; let those in flight end within `grace_s`, then cancel the rest."""


def shorten(details: str) -> str:
    """Cut an error text so that its trailer fits; never inside a character."""
    data = details.encode()
    if len(data) <= MAX_DETAILS_BYTES:
        return details
    return data[: MAX_DETAILS_BYTES - 3].decode(errors="ignore") + "..."
