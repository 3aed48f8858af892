"""Asking: one call of a conversation, made again while that may help and is allowed."""

from __future__ import annotations

from typing import Any

import grpc

from isotherm.client._errors import (
    CallCancelledError,
    ClosedError,
    InvalidInputError,
    RemoteError,
)
from isotherm.client._methods import Answer, Method, Request
from isotherm.client._retry import Retries, Retry
from isotherm.client._settings import Settings
from isotherm.client._steps import Call, Conversation, Deadline, Pause


class Asking:
    """What all conversations of one client have in common."""

    def __init__(self, settings: Settings) -> None:
        self.target = settings.target
        self.closed = False
        self.retries = Retries(settings.retry or Retry(attempts=1))
        self.timeout_s = Deadline.after(settings.timeout_s).timeout_s

    def begin(self, timeout_s: float | None) -> Deadline:
        """Return the deadline of a new conversation; refuse one on a closed client."""
        if self.closed:
            self.check_open()
        return Deadline.after(self.timeout_s if timeout_s is None else timeout_s)

    def check_open(self) -> None:
        """Raise ClosedError after the client was closed."""
        if self.closed:
            msg = f"the client of {self.target} is closed"
            raise ClosedError(msg, target=self.target)

    def cut_off(self, model: str) -> CallCancelledError:
        """Return the error of a call that was in flight when the client was closed."""
        msg = f"the client of {self.target} was closed during the call"
        code = grpc.StatusCode.CANCELLED
        return CallCancelledError(msg, model=model, target=self.target, code=code)

    def ask(
        self,
        method: Method[Request, Answer],
        request: Request,
        model: str,
        deadline: Deadline,
        hedge_after_s: float | None = None,
        callers: tuple[Any, ...] = (),
    ) -> Conversation[Answer]:
        """Make a call, and make it again while that may help and is allowed."""
        attempts = 0
        while True:
            attempts += 1
            try:
                answer: Answer = yield Call(
                    method, request, model, deadline, hedge_after_s, callers
                )
            except RemoteError as error:
                error.attempts = attempts
                pause_s = self.retries.pause_s(error, attempts) if method.repeatable else None
                if pause_s is None or pause_s >= deadline.left_s() or self.closed:
                    raise
            except InvalidInputError as error:
                error.attempts = attempts
                raise
            else:
                self.retries.succeeded()
                return answer
            yield Pause(pause_s)
