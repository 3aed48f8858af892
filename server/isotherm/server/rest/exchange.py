"""One HTTP request and its answer, within bounds, over ASGI."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from isotherm.server.rest.status import HttpError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON: Final = "application/json"
BINARY: Final = "application/octet-stream"

# A body must go on arriving, and have arrived at the end.
_PIECE_TIMEOUT_S: Final = 30.0
_BODY_TIMEOUT_S: Final = 300.0
# Smaller answers cost more to compress than to send.
_MIN_COMPRESSED_BYTES: Final = 1024
# zlib's names for the wrappers: deflate in HTTP means zlib's own.
_ENCODERS: Final = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
# Either of them, by what the data begins with.
_ANY_WRAPPER: Final = 32 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back; an empty body has no content type."""

    body: bytes = b""
    content_type: str = JSON
    status: int = 200
    headers: Sequence[tuple[str, str]] = ()


def json_answer(
    content: object, status: int = 200, headers: Sequence[tuple[str, str]] = ()
) -> Answer:
    """Return an answer in JSON."""
    return Answer(to_json(content), status=status, headers=headers)


def to_json(content: object) -> bytes:
    """Return compact JSON; numbers that JSON has not must be gone."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # A surrogate that stands alone has no UTF-8: it goes back escaped, as it came.
    return text.encode("utf-8", "backslashreplace")


class Exchange:
    """A request as its handler sees it, and the way back to its caller."""

    def __init__(self, scope: Message, receive: Receive, send: Send, max_bytes: int) -> None:
        self.method: str = scope["method"]
        # Still percent-encoded: a slash inside a name must not part it.
        self.path: str = scope["raw_path"].decode("latin-1")
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._receive = receive
        self._send = send
        self._max_bytes = max_bytes

    def header(self, name: str) -> str | None:
        """Return the first header of a name in lower case, or None."""
        wanted = name.encode()
        for key, value in self._headers:
            if key == wanted:
                return value.decode("latin-1")
        return None

    @property
    def declared_bytes(self) -> int | None:
        """The size that the caller gave for the body; None when it gave none."""
        # The parser below has refused what is not a number.
        length = self.header("content-length")
        return int(length) if length is not None else None

    async def body(self) -> bytes:
        """Return the body, unpacked; raise HttpError when it is too large or too slow."""
        encoding = (self.header("content-encoding") or "identity").strip().lower()
        if encoding not in {*_ENCODERS, "identity"}:
            msg = f"content-encoding is '{encoding}', expected gzip, deflate or none"
            raise HttpError(415, msg)
        if (self.declared_bytes or 0) > self._max_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(_BODY_TIMEOUT_S):
                body = await self._read()
        except TimeoutError as error:
            msg = "the body did not arrive in time: send it without pauses"
            raise HttpError(408, msg, (("connection", "close"),)) from error
        return body if encoding == "identity" else self._unpack(body)

    async def gone(self) -> None:
        """Wait until the caller has gone; only once the body has been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def answer(self, answer: Answer) -> None:
        """Send an answer, once."""
        headers = [(key.encode(), value.encode("latin-1")) for key, value in answer.headers]
        headers.append((b"content-length", b"%d" % len(answer.body)))
        if answer.body:
            headers.append((b"content-type", answer.content_type.encode()))
        start = {"type": "http.response.start", "status": answer.status, "headers": headers}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": answer.body})

    def packed(self, answer: Answer) -> Answer:
        """Return an answer compressed, where the caller takes that and it is worth it."""
        encoding = self._accepted()
        if encoding is None or len(answer.body) < _MIN_COMPRESSED_BYTES:
            return answer
        packer = zlib.compressobj(level=1, wbits=_ENCODERS[encoding])
        body = packer.compress(answer.body) + packer.flush()
        headers = (*answer.headers, ("content-encoding", encoding))
        return Answer(body, answer.content_type, answer.status, headers)

    async def _read(self) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while True:
            async with asyncio.timeout(_PIECE_TIMEOUT_S):
                message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Gone
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > self._max_bytes:
                raise self._too_large()
            if not message.get("more_body", False):
                return b"".join(pieces)

    def _unpack(self, body: bytes) -> bytes:
        unpacker = zlib.decompressobj(_ANY_WRAPPER)
        try:
            unpacked = unpacker.decompress(body, self._max_bytes + 1)
        except zlib.error as error:
            msg = f"the body is not what its content-encoding says: {error}"
            raise HttpError(400, msg) from error
        if len(unpacked) > self._max_bytes:
            raise self._too_large()
        if not unpacker.eof:
            msg = "the compressed body is cut off"
            raise HttpError(400, msg)
        return unpacked

    def _too_large(self) -> HttpError:
        msg = f"the body is larger than {self._max_bytes} bytes (--max-message-bytes)"
        return HttpError(413, msg)

    def _accepted(self) -> str | None:
        offers = (self.header("accept-encoding") or "").lower().replace(" ", "").split(",")
        for encoding in _ENCODERS:
            if any(offer == encoding or offer.startswith(f"{encoding};q=") for offer in offers):
                refused = f"{encoding};q=0" in offers
                return None if refused else encoding
        return None


class Gone(Exception):  # noqa: N818  no error: the caller has hung up, and nobody is answered
    """The caller has gone before its request was complete."""
