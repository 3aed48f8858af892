"""Calls by blocking channels: made and waited for, or begun, and hedged where they are late."""

from __future__ import annotations

import threading
from typing import Any

import grpc

from isotherm.client._channel import connect, options, secure, stubs
from isotherm.client._connections import Connection, Connections
from isotherm.client._conversation import Conversations
from isotherm.client._errors import ClosedError, IsothermError, from_status, was_heard
from isotherm.client._security import Bearer, credentials
from isotherm.client._settings import Settings
from isotherm.client._steps import Call
from isotherm.client._trace import CallSpan, traces, with_trace


class BlockingCalls:
    """Makes the calls of one client, over its connections."""

    def __init__(self, settings: Settings, conversations: Conversations) -> None:
        self._conversations = conversations
        self._bearer = Bearer(settings.token)
        secured = secure(settings.tls)
        # Now: a file that cannot be read is an error of the constructor.
        known = credentials(secured)
        channel_options = options(settings.target, secured)

        def opened() -> tuple[grpc.Channel, Any]:
            channel = connect(settings.target, channel_options, known)
            return channel, stubs(channel)

        self.connections: Connections[grpc.Channel] = Connections(settings.connections, opened)

    def close(self) -> None:
        """End all calls in flight."""
        for channel in self.connections.channels():
            channel.close()

    def make(self, call: Call) -> Any:
        """Make a call and return its answer."""
        if call.hedge_after_s is not None:
            return self._make_hedged(call, call.hedge_after_s)
        span = self.span(call)
        code = None
        try:
            answer = self.send(
                call.method.path,
                call.request,
                call.model,
                call.deadline.left_s(),
                self.metadata(span),
            )
            code = grpc.StatusCode.OK
        except IsothermError as error:
            code = error.code
            raise
        finally:
            if span is not None:
                span.end(code)
        return answer

    def send(
        self,
        path: str,
        request: Any,
        model: str,
        timeout_s: float,
        metadata: Any = None,
    ) -> Any:
        """Make one attempt of a call, and of nothing else; without metadata it brings the token."""
        # The whole way of most calls, so it has few functions on it.
        if self._conversations.closed:
            self._conversations.check_open()
        connection = self.connections.take()
        heard = False
        try:
            if metadata is None:
                metadata = self._bearer.metadata()
            answer = connection.stubs[path](request, timeout=timeout_s, metadata=metadata)
            heard = True
        except grpc.RpcError as exc:
            heard = was_heard(exc)
            raise self.error(exc, model, path) from exc
        except ValueError as exc:
            self.check_still_open(exc)
            raise
        except BaseException as exc:
            if not isinstance(exc, Exception):
                # Interrupted within gRPC, whose locks may stay taken.
                self.connections.forget(connection)
            raise
        finally:
            for unused in self.connections.give_back(connection, heard=heard):
                unused.close()
        return answer

    def take(self, other_than: Connection[grpc.Channel] | None = None) -> Connection[grpc.Channel]:
        """Return the connection for the next call, which `give_back` ends."""
        self._conversations.check_open()
        return self.connections.take(other_than)

    def give_back(self, connection: Connection[grpc.Channel], *, heard: bool) -> None:
        """End a call; close its channel if it was the last one there."""
        for unused in self.connections.give_back(connection, heard=heard):
            unused.close()

    def span(self, call: Call) -> CallSpan | None:
        """Begin the span of a call; None where nobody traces."""
        if not traces():
            return None
        return CallSpan(call.method.path, call.model, self._conversations.target, call.callers)

    def metadata(self, span: CallSpan | None) -> Any:
        """Return what a call brings: the token, and the trace that it belongs to."""
        token = self._bearer.metadata()
        return with_trace(token) if span is None else span.metadata(token)

    def error(self, cause: Any, model: str, path: str) -> IsothermError:
        """Return the error of a call that gRPC ended."""
        conversations = self._conversations
        if conversations.closed and cause.code() is grpc.StatusCode.CANCELLED:
            return conversations.cut_off(model)
        method = path.rpartition("/")[2]
        return from_status(cause, target=conversations.target, model=model, method=method)

    def cut_off(self, model: str) -> IsothermError:
        """Return the error of a call that was in flight when the client was closed."""
        return self._conversations.cut_off(model)

    def check_still_open(self, cause: ValueError) -> None:
        """Raise ClosedError for what gRPC raises where the channel was closed before the call."""
        try:
            self._conversations.check_open()
        except ClosedError as error:
            raise error from cause

    def _make_hedged(self, call: Call, after_s: float) -> Any:
        bell = threading.Semaphore(0)
        first = Attempt(self, call, self.take(), bell)
        attempts = [first]
        try:
            hedges = self._conversations.hedges
            if not bell.acquire(timeout=after_s) and hedges is not None and hedges.spend():
                attempts.append(Attempt(self, call, self.take(first.connection), bell))
                # Whichever comes first, and the other one only if that has failed.
                bell.acquire()
                if not any(attempt.succeeded() for attempt in attempts):
                    bell.acquire()
            good = [attempt for attempt in attempts if attempt.succeeded()]
            return (good or attempts)[0].outcome()
        finally:
            for attempt in attempts:
                attempt.cancel()


class Attempt:
    """A call on its way, which nobody has to wait for."""

    def __init__(
        self,
        calls: BlockingCalls,
        call: Call,
        connection: Connection[grpc.Channel],
        bell: threading.Semaphore,
    ) -> None:
        """`bell` is released when it is over."""
        self.connection = connection
        self._calls = calls
        self._call = call
        self._bell = bell
        self._span = calls.span(call)
        try:
            self._future = connection.stubs[call.method.path].future(
                call.request,
                timeout=call.deadline.left_s(),
                metadata=calls.metadata(self._span),
            )
        except BaseException as exc:
            if self._span is not None:
                self._span.end(None)
            calls.give_back(connection, heard=False)
            if isinstance(exc, ValueError):
                calls.check_still_open(exc)
            raise
        self._future.add_done_callback(self._done)

    def succeeded(self) -> bool:
        """Tell whether there is an answer."""
        return bool(self._future.done() and self._future.code() is grpc.StatusCode.OK)

    def outcome(self) -> Any:
        """Wait for the answer and return it."""
        try:
            return self._future.result()
        except grpc.RpcError as exc:
            raise self._calls.error(exc, self._call.model, self._call.method.path) from exc
        except grpc.FutureCancelledError as exc:
            raise self._calls.cut_off(self._call.model) from exc

    def cancel(self) -> None:
        """Let the server know that nobody waits any more."""
        self._future.cancel()

    def _done(self, future: Any) -> None:
        self._calls.give_back(self.connection, heard=was_heard(future))
        if self._span is not None:
            self._span.end(future.code())
        self._bell.release()
