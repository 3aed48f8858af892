"""Errors to gRPC codes: the one table, and the one way to end a call with an error."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from isotherm.server.errors import (
    AbandonedError,
    DeviceLostError,
    ExecutionError,
    ExpiredError,
    HopelessError,
    InvalidRequestError,
    NonFiniteError,
    NotFoundError,
    OverloadedError,
    QueueTimeoutError,
    RequestError,
    UnavailableError,
    UnsuitedError,
    UnsupportedError,
)
from isotherm.server.layout import Rejection
from isotherm.server.transport.call import Call, StatusCode

STATUS: Final[Mapping[type[RequestError], StatusCode]] = MappingProxyType(
    {
        AbandonedError: StatusCode.CANCELLED,
        DeviceLostError: StatusCode.UNAVAILABLE,
        ExecutionError: StatusCode.INTERNAL,
        ExpiredError: StatusCode.DEADLINE_EXCEEDED,
        HopelessError: StatusCode.RESOURCE_EXHAUSTED,
        InvalidRequestError: StatusCode.INVALID_ARGUMENT,
        NonFiniteError: StatusCode.INVALID_ARGUMENT,
        NotFoundError: StatusCode.NOT_FOUND,
        OverloadedError: StatusCode.RESOURCE_EXHAUSTED,
        QueueTimeoutError: StatusCode.UNAVAILABLE,
        UnavailableError: StatusCode.UNAVAILABLE,
        UnsuitedError: StatusCode.FAILED_PRECONDITION,
        UnsupportedError: StatusCode.UNIMPLEMENTED,
    }
)

# Errors of requests that were right, and yet not run.
REJECTIONS: Final[Mapping[type[RequestError], Rejection]] = MappingProxyType(
    {
        AbandonedError: Rejection.CANCELLED,
        ExpiredError: Rejection.EXPIRED,
        HopelessError: Rejection.HOPELESS,
        OverloadedError: Rejection.QUEUE_FULL,
        QueueTimeoutError: Rejection.EXPIRED,
    }
)


def status_of(error: RequestError) -> StatusCode:
    """Return the code of an error by its class."""
    return STATUS[type(error)]


def fail(call: Call, error: RequestError) -> None:
    """End a call with an error; an overloaded server says when to come back."""
    if isinstance(error, OverloadedError):
        pushback_ms = str(max(1, round(error.retry_after_s * 1000)))
        call.fail(status_of(error), str(error), (("grpc-retry-pushback-ms", pushback_ms),))
    else:
        call.fail(status_of(error), str(error))
