"""The server's errors. They know no transport: `service.status` maps them to gRPC codes.

ServerError
├── RequestError            one call ends with an error
│   ├── InvalidRequestError     the caller's mistake
│   │   └── NonFiniteError         NaN or infinity in its numbers
│   ├── NotFoundError           no such model or version
│   ├── UnavailableError        not now: draining, or the model is not ready
│   │   └── DeviceLostError         the device under the model is gone for this process
│   ├── OverloadedError         the queue is full
│   │   └── HopelessError           the caller's deadline would pass in the queue
│   ├── ExpiredError            the caller's deadline has passed
│   ├── QueueTimeoutError       the request's own time in the queue has passed
│   ├── AbandonedError          the caller has gone
│   ├── UnsupportedError        a part of the protocol that is not served
│   ├── UnsuitedError           the model is of another kind than the call is for
│   └── ExecutionError          the model failed on this request
└── StartError              the server cannot start, or a model cannot be loaded
    ├── ConfigError             a setting contradicts another, or names nothing
    ├── PortError               a port cannot be bound
    ├── ProviderError           the execution provider asked for is not to be had
    ├── RepositoryError         the repository folder is unusable
    └── LoadError               a model version is unusable
"""

from __future__ import annotations

from typing import Any


class ServerError(Exception):
    """Any error that the server raises on purpose."""


class RequestError(ServerError):
    """One call ends with an error; the text goes to the caller."""


class InvalidRequestError(RequestError):
    """The request is wrong in itself: repeating it cannot help."""


class NonFiniteError(InvalidRequestError):
    """Its `rows`, an array (rows, features), hold NaN or infinity, and the model refuses them."""

    def __init__(self, message: str, rows: Any) -> None:
        super().__init__(message)
        self.rows = rows


class NotFoundError(RequestError):
    """No model or version of that name."""


class UnavailableError(RequestError):
    """The server or the model cannot answer now, but may later or elsewhere."""


class DeviceLostError(UnavailableError):
    """The device fails at everything from now on, and only another process can have it again."""


class OverloadedError(RequestError):
    """The queue is full. Coming back in `retry_after_s` seconds may help."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class HopelessError(OverloadedError):
    """By all that is known, the answer would come after the caller's deadline."""


class ExpiredError(RequestError):
    """The caller's deadline passed before the model ran."""


class QueueTimeoutError(RequestError):
    """The time that the request allowed itself in the queue has passed."""


class AbandonedError(RequestError):
    """The caller has gone: nobody reads the answer."""


class UnsupportedError(RequestError):
    """A part of the protocol that this server does not offer."""


class UnsuitedError(RequestError):
    """The call is served, but not for a model of this kind."""


class ExecutionError(RequestError):
    """The runtime failed on this request, run alone."""


class StartError(ServerError):
    """The server cannot start, or a model cannot be loaded; the text is for the operator."""


class ConfigError(StartError):
    """A setting is out of range or contradicts another."""


class PortError(StartError):
    """A port cannot be bound."""


class ProviderError(StartError):
    """The execution provider that was asked for cannot be had on this machine."""


class RepositoryError(StartError):
    """The repository folder is missing or holds no model."""


class LoadError(StartError):
    """A model version cannot be served."""
