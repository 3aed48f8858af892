"""Calls by asyncio channels, hedged where they are late."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio

from isotherm.client._channel import options, secure, stubs
from isotherm.client._connections import Connection, Connections
from isotherm.client._conversation import Conversations
from isotherm.client._errors import from_status, was_heard
from isotherm.client._security import Bearer, credentials
from isotherm.client._settings import Settings
from isotherm.client._steps import Call
from isotherm.client._trace import CallSpan, traces, with_trace


class AsyncioCalls:
    """Makes the calls of one client, over its connections."""

    def __init__(self, settings: Settings, conversations: Conversations) -> None:
        self._conversations = conversations
        self._bearer = Bearer(settings.token)
        secured = secure(settings.tls)
        known = credentials(secured)
        channel_options = options(settings.target, secured)

        # Channels belong to the running event loop; a client may be made before there is one.
        def opened() -> tuple[grpc.aio.Channel, Any]:
            channel = (
                grpc.aio.insecure_channel(settings.target, channel_options)
                if known is None
                else grpc.aio.secure_channel(settings.target, known, channel_options)
            )
            return channel, stubs(channel)

        self._connections: Connections[grpc.aio.Channel] = Connections(settings.connections, opened)
        # The loop itself holds tasks weakly.
        self._closing: set[asyncio.Future[None]] = set()

    async def close(self) -> None:
        """End all calls in flight."""
        for channel in self._connections.channels():
            await channel.close()

    async def make(self, call: Call) -> Any:
        """Make a call and return its answer."""
        if call.hedge_after_s is not None:
            return await self._make_hedged(call, call.hedge_after_s)
        return await self._make_on(call, self._connections.take())

    async def _make_on(self, call: Call, connection: Connection[grpc.aio.Channel]) -> Any:
        conversations = self._conversations
        path = call.method.path
        span = CallSpan(path, call.model, conversations.target, call.callers) if traces() else None
        code: grpc.StatusCode | None = None
        heard = False
        try:
            conversations.check_open()
            token = self._bearer.metadata()
            answer = await connection.stubs[path](
                call.request,
                timeout=call.deadline.left_s(),
                metadata=with_trace(token) if span is None else span.metadata(token),
            )
            code, heard = grpc.StatusCode.OK, True
        except grpc.RpcError as exc:
            code, heard = exc.code(), was_heard(exc)
            method = path.rpartition("/")[2]
            raise from_status(
                exc, target=conversations.target, model=call.model, method=method
            ) from exc
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if task is None or task.cancelling() or not conversations.closed:
                raise
            # grpc.aio tells of a closed channel as if the caller's own task had been cancelled.
            raise conversations.cut_off(call.model) from exc
        finally:
            for unused in self._connections.give_back(connection, heard=heard):
                closing = asyncio.ensure_future(unused.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)
            if span is not None:
                span.end(code)
        return answer

    async def _make_hedged(self, call: Call, after_s: float) -> Any:
        connection = self._connections.take()
        attempts = [asyncio.create_task(self._make_on(call, connection))]
        try:
            done, _ = await asyncio.wait(attempts, timeout=after_s)
            hedges = self._conversations.hedges
            if not done and hedges is not None and hedges.spend():
                other = self._connections.take(other_than=connection)
                attempts.append(asyncio.create_task(self._make_on(call, other)))
            pending = set(attempts)
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                good = [attempt for attempt in done if attempt.exception() is None]
                if good:
                    return good[0].result()
            return attempts[0].result()
        finally:
            for attempt in attempts:
                attempt.cancel()
            await asyncio.gather(*attempts, return_exceptions=True)
