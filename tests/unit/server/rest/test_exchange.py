"""One request within its bounds, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from isotherm.server.rest import exchange as exchange_module
from isotherm.server.rest.exchange import Exchange, Gone, json_answer
from isotherm.server.rest.status import HttpError


def exchange(*messages: Any, max_bytes: int = 10, **headers: str) -> Exchange:
    """Return an exchange that receives messages, and then nothing for ever."""

    async def source() -> AsyncIterator[Any]:
        for message in messages:
            yield message
        await asyncio.Event().wait()

    iterator = source()

    async def receive() -> Any:
        return await anext(iterator)

    async def send(_message: Any) -> None:
        pass

    named = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
    scope = {"method": "POST", "raw_path": b"/v2", "headers": named}
    return Exchange(scope, receive, send, max_bytes)


def piece(body: bytes, *, more: bool = False) -> dict[str, Any]:
    """Return a part of a body as ASGI brings it."""
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_comes_in_pieces() -> None:
    """Up to the limit, exactly."""
    pieces = piece(b"12345", more=True), piece(b"", more=True), piece(b"67890")

    assert await exchange(*pieces).body() == b"1234567890"


async def test_one_byte_more_is_too_many() -> None:
    """It is not waited for whether more come."""
    with pytest.raises(HttpError, match="larger than 10 bytes") as error:
        await exchange(piece(b"12345", more=True), piece(b"678901", more=True)).body()

    assert error.value.status == 413


@pytest.mark.parametrize("limit", ["_PIECE_TIMEOUT_S", "_BODY_TIMEOUT_S"])
async def test_a_body_that_stops_coming_is_an_error(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the pause, or by all of its time; the connection ends with it."""
    monkeypatch.setattr(exchange_module, limit, 0.02)
    with pytest.raises(HttpError, match="did not arrive in time") as error:
        await exchange(piece(b"1", more=True)).body()

    assert error.value.status == 408
    assert ("connection", "close") in error.value.headers


async def test_a_caller_who_goes_before_the_end_is_gone() -> None:
    """Nobody is answered."""
    with pytest.raises(Gone):
        await exchange(piece(b"1", more=True), {"type": "http.disconnect"}).body()


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("gzip", "gzip"),
        ("deflate, gzip;q=0.5", "gzip"),
        ("DEFLATE", "deflate"),
        ("br, deflate", "deflate"),
        ("gzip;q=0", None),
        ("identity", None),
        ("*", None),
        ("", None),
    ],
)
async def test_an_answer_is_packed_as_its_caller_accepts_it(
    accepted: str, expected: str | None
) -> None:
    """Gzip first; nothing that was not named."""
    answer = json_answer({"zeros": "0" * 5000})
    packed = exchange(accept_encoding=accepted).packed(answer)

    assert dict(packed.headers).get("content-encoding") == expected
    assert (len(packed.body) < 200) == (expected is not None)


def test_text_that_is_none_goes_back_as_it_came() -> None:
    """Half a surrogate pair, in the name of a model for example."""
    assert json_answer({"error": "\ud800 ☃"}).body == b'{"error":"\\ud800 \xe2\x98\x83"}'
