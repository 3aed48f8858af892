"""The ASGI application: requests in, answers and errors out."""

from __future__ import annotations

import logging

from isotherm.server.rest.exchange import (
    Answer,
    Exchange,
    Gone,
    Message,
    Receive,
    Send,
    json_answer,
)
from isotherm.server.rest.operations import Operations
from isotherm.server.rest.status import HttpError

_log = logging.getLogger(__name__)


class App:
    """Answers every request with what its operation returns, or with the error it ends in."""

    def __init__(self, operations: Operations, max_bytes: int) -> None:
        self._operations = operations
        self._max_bytes = max_bytes
        # Set when the gateway drains: connections end with their answers.
        self.closing = False

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request; uvicorn's calls of other kinds are switched off."""
        exchange = Exchange(scope, receive, send, self._max_bytes)
        try:
            answer = await self._answer(exchange)
        except Gone:
            return
        if self.closing:
            closing = (*answer.headers, ("connection", "close"))
            answer = Answer(answer.body, answer.content_type, answer.status, closing)
        await exchange.answer(answer)

    async def _answer(self, exchange: Exchange) -> Answer:
        try:
            return await self._operations.run(exchange)
        except HttpError as error:
            _log.debug("%s %s: %d %s", exchange.method, exchange.path, error.status, error)
            return json_answer({"error": str(error)}, error.status, error.headers)
        except Gone:
            raise
        except Exception:  # noqa: BLE001  one request's fault must not end the gateway
            _log.exception("%s %s failed", exchange.method, exchange.path)
            text = "internal error; the server's log has the details"
            return json_answer({"error": text}, 500)
