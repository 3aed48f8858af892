"""The error tree: every status has its class, and what the server said is kept."""

from __future__ import annotations

import pickle

import grpc
import grpc.aio
import pytest

from isotherm.client import (
    InvalidInputError,
    IsothermError,
    OverloadedError,
    RemoteError,
    TransientError,
    UnavailableError,
    _errors,
)


def _rpc_error(code, details="as told", trailers=()):
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailers), details)


def _tree(cls: type[IsothermError]) -> list[type[IsothermError]]:
    return [cls, *(each for child in cls.__subclasses__() for each in _tree(child))]


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.value[0]])
def test_every_status_becomes_an_error_of_the_tree(code: grpc.StatusCode) -> None:
    """A code without a class of its own is a RemoteError, never a KeyError."""
    error = _errors.from_status(_rpc_error(code), target="here:1", model="m")

    assert isinstance(error, RemoteError | InvalidInputError)
    assert (code, "m", "here:1") == (error.code, error.model, error.target)
    assert f"as told ({code.name} from here:1)" == str(error)


def test_a_code_without_a_class_falls_back_to_the_base():
    """ALREADY_EXISTS has no meaning here."""
    error = _errors.from_status(_rpc_error(grpc.StatusCode.ALREADY_EXISTS), target="here:1")

    assert RemoteError is type(error)


def test_what_may_succeed_later_is_a_class():
    """Callers that repeat calls catch one name."""
    assert {OverloadedError, UnavailableError} == set(TransientError.__subclasses__())


@pytest.mark.parametrize(
    ("trailers", "expected"),
    [
        ((), None),
        ((("grpc-retry-pushback-ms", "1500"),), 1.5),
        ((("other", "1"), ("grpc-retry-pushback-ms", "0")), 0.0),
        # Negative means: do not come back.
        ((("grpc-retry-pushback-ms", "-1"),), None),
        ((("grpc-retry-pushback-ms", "soon"),), None),
    ],
)
def test_the_pushback_is_read_in_seconds(trailers, expected):
    """A number of milliseconds counts, anything else is no pushback."""
    cause = _rpc_error(grpc.StatusCode.RESOURCE_EXHAUSTED, trailers=trailers)

    error = _errors.from_status(cause, target="here:1")

    assert isinstance(error, OverloadedError)
    assert expected == error.retry_after_s


def test_a_status_without_details_still_makes_a_sentence():
    """Servers may send a bare code."""
    error = _errors.from_status(_rpc_error(grpc.StatusCode.INTERNAL, None), target="here:1")

    assert str(error) == "no details (INTERNAL from here:1)"


@pytest.mark.parametrize("cls", _tree(IsothermError))
def test_errors_survive_pickling(cls):
    """Worker processes can send them home."""
    error = cls("text", model="m", target="here:1", code=grpc.StatusCode.INTERNAL)

    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  our own bytes

    assert (cls, "text") == (type(copy), str(copy))
    assert (copy.model, copy.target, copy.code) == ("m", "here:1", grpc.StatusCode.INTERNAL)


@pytest.mark.parametrize("cls", _tree(IsothermError))
def test_the_drawn_tree_shows_every_class(cls):
    """The module's first lines are the map of the tree."""
    assert f" {cls.__name__} " in f" {_errors.__doc__} ".replace("\n", " ")
