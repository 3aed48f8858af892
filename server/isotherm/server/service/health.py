"""grpc.health.v1: upstream's servicer behind our transports.

Services: "" is SERVING when the server is ready, "liveness" as long as calls are handled at all,
and every model has its own name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from grpc_health.v1.health import HealthServicer

from isotherm.server.transport.call import Call, StatusCode, Stream, StreamCall, Unary

LIVENESS: Final = "liveness"
CHECK: Final = "/grpc.health.v1.Health/Check"
WATCH: Final = "/grpc.health.v1.Health/Watch"
# What says nothing of any model.
_PUBLIC: Final = frozenset({"", LIVENESS})
_STOPPING: Final = "the server is stopping"


class HealthService:
    """Keeps the status of every service, and tells watchers of its changes."""

    def __init__(self, look: Callable[[], None] = lambda: None) -> None:
        """`look` is called before anybody is answered, to set what has changed by itself."""
        self._look = look
        self._servicer = HealthServicer()
        self._statuses: dict[str, bool] = {}
        self._watches: set[StreamCall] = set()
        self._closed = False
        self.set("", serving=False)
        self.set(LIVENESS, serving=True)

    def methods(self) -> dict[str, Unary | Stream]:
        """Return the handlers by path."""
        return {CHECK: Unary(self._check), WATCH: Stream(self._watch)}

    def public_methods(self) -> dict[str, Unary | Stream]:
        """Return handlers that tell probes of the server, and nothing of its models."""
        return {
            CHECK: Unary(partial(self._check, public=True)),
            WATCH: Stream(partial(self._watch, public=True)),
        }

    def set(self, service: str, *, serving: bool) -> None:
        """Set a service's status; watchers hear of changes only."""
        if self._statuses.get(service) is serving:
            return
        self._statuses[service] = serving
        status = health_pb2.HealthCheckResponse
        self._servicer.set(service, status.SERVING if serving else status.NOT_SERVING)

    def close(self) -> None:
        """End the watches: an open stream would hold the server's stop for its whole grace."""
        self._closed = True
        for call in tuple(self._watches):
            call.fail(StatusCode.UNAVAILABLE, _STOPPING)

    def _check(self, call: Call, message: bytes, *, public: bool = False) -> None:
        request = _parse(call, message, public=public)
        if request is None:
            return
        self._look()
        context = _Context(call)
        response = self._servicer.Check(request, cast("Any", context))
        if not context.fail():
            call.reply(response.SerializeToString())

    def _watch(self, call: StreamCall, *, public: bool = False) -> None:
        if self._closed:
            call.fail(StatusCode.UNAVAILABLE, _STOPPING)
            return
        self._watches.add(call)
        context = _Context(call)

        def send(update: health_pb2.HealthCheckResponse | None) -> None:
            # The servicer's last word, once the call is over, is None.
            if update is not None:
                call.send(update.SerializeToString())

        def start(message: bytes) -> None:
            request = _parse(call, message, public=public)
            if request is not None:
                self._look()
                # The third argument is what makes it return at once; the stubs leave it out.
                watch = cast("Callable[..., None]", self._servicer.Watch)
                watch(request, context, send)

        def close() -> None:
            self._watches.discard(call)
            context.close()

        call.on_message = start
        call.on_close = close


class _Context:
    """The part of grpc's servicer context that the health servicer uses."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._code: grpc.StatusCode | None = None
        self._details = ""
        self._callbacks: list[Callable[[], None]] = []

    def set_code(self, code: grpc.StatusCode) -> None:
        self._code = code

    def set_details(self, details: str) -> None:
        self._details = details

    def add_callback(self, callback: Callable[[], None]) -> bool:
        self._callbacks.append(callback)
        return True

    def fail(self) -> bool:
        """End the call with the code that was set, if any."""
        if self._code is None:
            return False
        details = self._details or self._code.name
        self._call.fail(StatusCode[self._code.name], details)
        return True

    def close(self) -> None:
        """Run the callbacks: the servicer then forgets its watcher."""
        for callback in self._callbacks:
            callback()


def _parse(call: Call, message: bytes, *, public: bool) -> Any:
    try:
        request = health_pb2.HealthCheckRequest.FromString(message)
    except DecodeError:
        call.fail(StatusCode.INVALID_ARGUMENT, "the message is not a HealthCheckRequest")
        return None
    if public and request.service not in _PUBLIC:
        # The same whether there is such a model or not.
        call.fail(
            StatusCode.UNAUTHENTICATED,
            f"without a token only '' and '{LIVENESS}' may be asked for",
        )
        return None
    return request
