"""The client's errors: everything that it raises on purpose.

IsothermError
├── InvalidInputError       the arguments do not fit the model (also a ValueError)
├── NoContractError         the model carries no contract, or the server cannot send one
├── InvalidAnswerError      the server's answer cannot be read
├── ClosedError             the client was closed before the call
└── RemoteError             the call ended with a gRPC status, found in `code`
    ├── NotFoundError           no such model or version (also a LookupError)
    ├── AccessDeniedError       the server wants other credentials
    ├── UnsupportedError        the server does not offer this call
    ├── DeadlineExceededError   no answer within the timeout (also a TimeoutError)
    ├── CallCancelledError      the call was cancelled, but not by its caller
    ├── ServerFaultError        the server or the model failed
    └── TransientError          the same call may succeed later
        ├── OverloadedError         the server has too much to do; see `retry_after_s`
        └── UnavailableError        nobody answers, or the server is starting or stopping

An InvalidInputError is found here where it can be, else by the server (INVALID_ARGUMENT).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, cast

import grpc

# How gRPC's core begins what it says while it has no connection.
_UNREACHED: Final = ("failed to connect", "connections to all backends failing")
# How gRPC's core refuses a message, at either end.
_TOO_LARGE: Final = "essage larger than max"
_PUSHBACK_KEY: Final = "grpc-retry-pushback-ms"


class IsothermError(Exception):
    """Any error that the client raises on purpose.

    Attributes:
        model: The model that the call was about; empty when it was about the server.
        target: The server's address; empty when nothing was sent.
        code: The gRPC status of the call; None when there was no status.
        attempts: How often the call was made; 0 when nothing was sent.
    """

    attempts: int = 0

    def __init__(
        self,
        message: str,
        *,
        model: str = "",
        target: str = "",
        code: grpc.StatusCode | None = None,
    ) -> None:
        super().__init__(message)
        self.model = model
        self.target = target
        self.code = code


class InvalidInputError(IsothermError, ValueError):
    """The arguments do not fit the model: the same call cannot succeed."""


class NoContractError(IsothermError):
    """The model carries no contract, or the server has no way to send it."""


class InvalidAnswerError(IsothermError):
    """The server's answer contradicts the protocol."""


class ClosedError(IsothermError):
    """The client was closed before the call."""


class RemoteError(IsothermError):
    """The call ended with a gRPC status; classes below say more where the status does.

    Attributes:
        final: Whether the server asked not to be asked again.
    """

    final: bool = False


class NotFoundError(RemoteError, LookupError):
    """The server has no such model, or not in this version."""


class AccessDeniedError(RemoteError):
    """The server asks for other credentials."""


class UnsupportedError(RemoteError):
    """The server does not offer this call."""


class DeadlineExceededError(RemoteError, TimeoutError):
    """No answer came within the timeout."""


class CallCancelledError(RemoteError):
    """The call was cancelled by the server or on the way to it."""


class ServerFaultError(RemoteError):
    """The server or the model failed on a call that looked right."""


class TransientError(RemoteError):
    """The same call may succeed later.

    Attributes:
        retry_after_s: In how many seconds the server wants to be asked again; None when it did not
            say.
    """

    retry_after_s: float | None = None


class OverloadedError(TransientError):
    """The server has too much to do; see `retry_after_s`."""


class UnavailableError(TransientError):
    """Nobody answers at the address, or the server is starting or stopping.

    Attributes:
        unreached: Whether no connection could be made, so that nobody has seen the call.
    """

    unreached: bool = False


_CLASSES: Final[Mapping[grpc.StatusCode, type[IsothermError]]] = MappingProxyType(
    {
        grpc.StatusCode.CANCELLED: CallCancelledError,
        grpc.StatusCode.DATA_LOSS: ServerFaultError,
        grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
        grpc.StatusCode.INTERNAL: ServerFaultError,
        grpc.StatusCode.INVALID_ARGUMENT: InvalidInputError,
        grpc.StatusCode.NOT_FOUND: NotFoundError,
        grpc.StatusCode.OUT_OF_RANGE: InvalidInputError,
        grpc.StatusCode.PERMISSION_DENIED: AccessDeniedError,
        grpc.StatusCode.RESOURCE_EXHAUSTED: OverloadedError,
        grpc.StatusCode.UNAUTHENTICATED: AccessDeniedError,
        grpc.StatusCode.UNAVAILABLE: UnavailableError,
        grpc.StatusCode.UNIMPLEMENTED: UnsupportedError,
        grpc.StatusCode.UNKNOWN: ServerFaultError,
    }
)


def from_status(
    cause: grpc.RpcError, *, target: str, model: str = "", method: str = ""
) -> IsothermError:
    """Return the error for the status in `cause`: RemoteError itself for codes without a class.

    `method` is the name of the call, such as ModelInfer.
    """
    code = cause.code()
    details = cause.details() or "no details"
    kind = _CLASSES.get(code, RemoteError)
    message = f"{details} ({code.name} from {target})"
    if kind is UnsupportedError and method not in details:
        message = f"the server at {target} does not offer {method}: {message}"
    elif kind is OverloadedError and _TOO_LARGE in details:
        # The same status, but it will never be smaller.
        kind = InvalidInputError
        message = f"the request is too large for the server, send fewer rows at a time: {message}"
    error = kind(message, model=model, target=target, code=code)
    error.attempts = 1
    if isinstance(error, UnavailableError):
        error.unreached = details.startswith(_UNREACHED)
    pushback = _pushback_ms(cause)
    if pushback is not None and isinstance(error, RemoteError):
        # Anything but a number of milliseconds, such as -1, means never.
        error.final = not pushback.isdecimal()
        if isinstance(error, TransientError) and not error.final:
            error.retry_after_s = int(pushback) / 1000
    return error


def was_heard(call: Any) -> bool:
    """Tell whether anybody answered a call that is over: a deadline passes here as well."""
    return call.code() not in {grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED}


def for_another(error: IsothermError) -> IsothermError:
    """Return an error of its own for each caller of one call: raising one adds to its traceback."""
    twin = copy.copy(error)
    twin.__cause__ = error.__cause__
    return twin


def _pushback_ms(cause: grpc.RpcError) -> str | None:
    metadata = cast("Iterable[tuple[str, str | bytes]]", cause.trailing_metadata() or ())
    for key, value in metadata:
        if key == _PUSHBACK_KEY:
            return value.decode("ascii", "replace") if isinstance(value, bytes) else value
    return None
