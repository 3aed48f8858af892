"""The workers as the gateway reaches them: one channel each, and whichever is ready."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from grpc import ChannelConnectivity, StatusCode
from grpc_health.v1 import health_pb2

from isotherm.server.rest.status import HTTP_STATUS, HttpError
from isotherm.server.rpcs import PREFIX
from isotherm.v1 import open_inference_pb2 as pb

_log = logging.getLogger(__name__)

_CHECK: Final = "/grpc.health.v1.Health/Check"
_CHECK_TIMEOUT_S: Final = 2.0
_LEFT_WITHIN_S: Final = 0.1
# Longer than a channel pauses between two tries: a worker that listens is found within it.
_CONNECTED_WITHIN_S: Final = 0.5
_LOOK_EVERY_S: Final = 0.02
_PUSHBACK: Final = "grpc-retry-pushback-ms"
_NO_WORKER: Final = "no worker can be reached: one is starting, or all have ended"
_LOST: Final = "the worker of this request is gone: repeat it, if that does no harm"
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A worker that has started is to be found at once, and trying a socket in vain costs little.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 250),
    # How long one try may take, whatever its name: a busy worker is to be waited for.
    ("grpc.min_reconnect_backoff_ms", 2000),
    # Each worker has a connection of its own, also where two channels look alike.
    ("grpc.use_local_subchannel_pool", 1),
)


class Workers:
    """Calls any worker that can be reached, each in its turn."""

    def __init__(self, paths: Sequence[str], max_bytes: int) -> None:
        """Connect to the workers' sockets; requests above `max_bytes` are not sent, 0 is no limit.

        Call on the event loop.
        """
        self._channels = [grpc.aio.insecure_channel(f"unix:{path}", _OPTIONS) for path in paths]
        self._max_bytes = max_bytes
        self._turn = 0
        for channel in self._channels:
            channel.get_state(try_to_connect=True)

    async def call(
        self,
        rpc: str,
        request: Message,
        *,
        metadata: Sequence[tuple[str, str]] = (),
        timeout_s: float | None = None,
    ) -> Any:
        """Call an RPC of the inference service; raise HttpError when it fails."""
        if self._max_bytes and request.ByteSize() > self._max_bytes:
            msg = f"the request is larger than {self._max_bytes} bytes (--max-message-bytes)"
            raise HttpError(413, msg)
        began = time.monotonic()
        channel = await self._connected(timeout_s)
        if timeout_s is not None:
            timeout_s = max(0.0, timeout_s - (time.monotonic() - began))
        method: Any = channel.unary_unary(
            PREFIX + rpc,
            request_serializer=type(request).SerializeToString,
            response_deserializer=getattr(pb, f"{rpc}Response").FromString,
        )
        try:
            return await method(request, metadata=tuple(metadata), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            # gRPC's own texts name a socket, and help nobody who cannot see it.
            lost = error.code() is StatusCode.UNAVAILABLE and await _left(channel)
            raise _http_error(error, _LOST if lost else error.details() or "") from error

    async def ready(self) -> bool:
        """Tell whether every worker can be reached, and says that the server is ready."""
        return all(await asyncio.gather(*map(_serving, self._channels)))

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(channel.close() for channel in self._channels))

    async def _connected(self, timeout_s: float | None) -> grpc.aio.Channel:
        """Return the next channel that is connected; raise HttpError when none soon is.

        A worker serves by gRPC a moment before the channel to it tries again.
        """
        patience_s = min(_CONNECTED_WITHIN_S, math.inf if timeout_s is None else timeout_s)
        give_up_at = time.monotonic() + patience_s
        self._turn += 1
        while True:
            states = [channel.get_state(try_to_connect=True) for channel in self._channels]
            found = [
                channel
                for channel, state in zip(self._channels, states, strict=True)
                if state is ChannelConnectivity.READY
            ]
            if found:
                return found[self._turn % len(found)]
            if time.monotonic() >= give_up_at:
                raise HttpError(503, _NO_WORKER, (("retry-after", "1"),))
            await asyncio.sleep(_LOOK_EVERY_S)


async def _left(channel: grpc.aio.Channel) -> bool:
    """Tell whether the connection has ended; a channel hears of that just after its calls do."""
    try:
        await asyncio.wait_for(
            channel.wait_for_state_change(ChannelConnectivity.READY), _LEFT_WITHIN_S
        )
    except TimeoutError:
        return False
    return True


async def _serving(channel: grpc.aio.Channel) -> bool:
    check: Any = channel.unary_unary(
        _CHECK,
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    try:
        answer = await check(health_pb2.HealthCheckRequest(), timeout=_CHECK_TIMEOUT_S)
    except grpc.aio.AioRpcError as error:
        _log.debug("no answer to a health check: %s", error.code())
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _http_error(error: grpc.aio.AioRpcError, details: str) -> HttpError:
    code = error.code()
    headers: list[tuple[str, str]] = []
    if code is StatusCode.UNAUTHENTICATED:
        headers.append(("www-authenticate", "Bearer"))
    pushback = dict(error.trailing_metadata() or ()).get(_PUSHBACK)
    if pushback is not None:
        headers.append(("retry-after", str(max(1, -(-int(pushback) // 1000)))))
    return HttpError(HTTP_STATUS.get(code, 500), details or code.name, headers)
