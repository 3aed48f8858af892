"""Errors to gRPC codes: one table, complete."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from isotherm.server.errors import (
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    RequestError,
)
from isotherm.server.service.status import STATUS, fail, status_of
from isotherm.server.transport.call import StatusCode
from tests.unit.server.fakes import FakeCall


def descendants(error: type[RequestError]) -> Iterator[type[RequestError]]:
    """Yield every class below one."""
    for child in error.__subclasses__():
        yield child
        yield from descendants(child)


def test_every_request_error_has_a_code():
    """None is forgotten, and none is OK."""
    assert set(STATUS) == set(descendants(RequestError))
    assert StatusCode.OK not in STATUS.values()


def test_a_code_goes_by_the_class():
    """As the table says."""
    assert status_of(NotFoundError("x")) is StatusCode.NOT_FOUND


def test_an_error_ends_the_call_with_its_text():
    """Without metadata."""
    call = FakeCall()
    fail(call, InvalidRequestError("the text"))

    assert call.status == (StatusCode.INVALID_ARGUMENT, "the text", ())


@pytest.mark.parametrize(
    ("retry_after_s", "pushback_ms"), [(0.25, "250"), (0.0, "1"), (1e-6, "1"), (2.0004, "2000")]
)
def test_an_overloaded_server_says_when_to_come_back(retry_after_s: float, pushback_ms: str):
    """In gRPC's own trailer, in whole milliseconds, at least one."""
    call = FakeCall()
    fail(call, OverloadedError("full", retry_after_s=retry_after_s))

    assert call.status == (
        StatusCode.RESOURCE_EXHAUSTED,
        "full",
        (("grpc-retry-pushback-ms", pushback_ms),),
    )
