"""The steps of a conversation: what its shell, blocking or asyncio, is asked to do next."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import grpc

from isotherm.client._errors import DeadlineExceededError, InvalidInputError
from isotherm.client._methods import Method

Result = TypeVar("Result")


class Deadline:
    """The point in time by which all steps of a conversation must be over."""

    __slots__ = ("at_s", "timeout_s")

    def __init__(self, at_s: float, timeout_s: float) -> None:
        """`at_s` is a reading of `time.monotonic`."""
        self.at_s = at_s
        self.timeout_s = timeout_s

    @classmethod
    def after(cls, timeout_s: float) -> Deadline:
        """Return the deadline `timeout_s` from now; refuse one that is no limit."""
        if not 0 < timeout_s < math.inf:
            msg = f"timeout is {timeout_s}, expected a positive number of seconds"
            raise InvalidInputError(msg)
        return cls(time.monotonic() + timeout_s, timeout_s)

    def left_s(self) -> float:
        """Return the seconds that are left, zero at least."""
        return max(0.0, self.at_s - time.monotonic())

    def passed(self, model: str, target: str) -> DeadlineExceededError:
        """Return the error of a caller whom no answer reached in time."""
        msg = f"no answer within {self.timeout_s:g} s (DEADLINE_EXCEEDED from {target})"
        code = grpc.StatusCode.DEADLINE_EXCEEDED
        return DeadlineExceededError(msg, model=model, target=target, code=code)


class Call(NamedTuple):
    """One attempt of an RPC; `model` is for the error message.

    With `hedge_after_s`, a second attempt goes out where the first has not been answered by then;
    the answer that comes first is taken, and the other attempt is cancelled.
    """

    method: Method[Any, Any]
    request: Any
    model: str
    deadline: Deadline
    hedge_after_s: float | None = None
    # The spans of those who share it.
    callers: tuple[Any, ...] = ()


class Pause(NamedTuple):
    """A wait between two attempts."""

    seconds: float


class Enter(NamedTuple):
    """A lock to take, which the conversation gives back: one asks, the others wait for it."""

    key: tuple[str, str]
    deadline: Deadline


class Gate(Protocol):
    """A lock of threads or tasks."""

    def release(self) -> None:
        """Let the next one in."""


Step: TypeAlias = Call | Pause | Enter
Conversation: TypeAlias = Generator[Step, Any, Result]
