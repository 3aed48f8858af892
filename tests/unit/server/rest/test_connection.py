"""How long a request's head may take, on a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from isotherm.server.rest import connection as connection_module
from isotherm.server.rest.connection import Connection

LARGE = 1 << 26
HEAD = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


async def app(scope: Any, _receive: Any, send: Any) -> None:
    """Answer after a while, with nothing; or with more than fits on the way."""
    if scope["path"] == "/large":
        headers = [(b"content-length", b"%d" % LARGE)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(LARGE >> 20):
            await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
        await send({"type": "http.response.body"})
        return
    await asyncio.sleep(0.5)
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body"})


@asynccontextmanager
async def connected(
    monkeypatch: pytest.MonkeyPatch, state: ServerState | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to a server that gives a head 0.3 s, and a reader one; `state` has who is there."""
    monkeypatch.setattr(connection_module, "HEAD_TIMEOUT_S", 0.3)
    monkeypatch.setattr(connection_module, "STALL_TIMEOUT_S", 1.0)
    config = uvicorn.Config(app, http=Connection, ws="none", lifespan="off", log_config=None)
    config.load()
    state = state or ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            yield reader, writer
        finally:
            writer.close()
            await asyncio.gather(*state.tasks)


async def nothing(reader: asyncio.StreamReader) -> bool:
    """Read to the end; tell whether nothing came: a reset, where a byte was still on its way."""
    try:
        return not await reader.read()
    except ConnectionResetError:
        return True


async def test_a_caller_who_says_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time that a head may take."""
    async with connected(monkeypatch) as (reader, _):
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_a_head_that_drips_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often another byte comes."""
    async with connected(monkeypatch) as (reader, writer):
        ended = asyncio.ensure_future(nothing(reader))
        for byte in HEAD * 10:
            writer.write(bytes([byte]))
            await asyncio.wait((ended,), timeout=0.05)
            if ended.done():
                break

    assert ended.done()
    assert ended.result()


async def test_an_answer_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what comes before a request is bounded; the next one may come, and may not drip."""
    async with connected(monkeypatch) as (reader, writer):
        for _ in range(2):
            writer.write(HEAD)
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            assert answer.startswith(b"HTTP/1.1 204")
        writer.write(HEAD[:5])
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_a_reader_who_stops_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written and not taken is let go; a slow reader gets all."""
    state = ServerState()
    async with connected(monkeypatch, state) as (reader, writer):
        writer.write(HEAD.replace(b"/ ", b"/large "))
        await reader.readexactly(100_000)
        # asyncio reads no further once its buffer is full, and the application waits until then.
        async with asyncio.timeout(10):
            await asyncio.gather(*state.tasks)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(LARGE)
    async with connected(monkeypatch) as (reader, writer):
        writer.write(HEAD.replace(b"/ ", b"/large "))
        for _ in range(4):
            await reader.readexactly(LARGE >> 3)
            await asyncio.sleep(0.1)
        await reader.readexactly(LARGE >> 1)
