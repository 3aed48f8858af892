"""`isotherm health` against a real gRPC server."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ("SERVING", 0)),
        (["line"], ("SERVING", 0)),
        (["plane"], ("NOT_SERVING", 1)),
        (["--service", "liveness"], ("UNKNOWN", 1)),
    ],
)
def test_the_status_is_printed_and_decides_the_exit_status(isotherm, server, arguments, expected):
    """Only SERVING is 0."""
    server.health["liveness"] = 0

    result = isotherm("health", *arguments, "--address", server.address)

    assert (result.stdout.strip(), result.exit_code) == expected


def test_a_long_name_is_encoded_right(isotherm, server):
    """Lengths beyond 127 take two bytes."""
    name = "m" * 300
    server.health[name] = 1

    result = isotherm("health", name, "--address", server.address)

    assert result.stdout == "SERVING\n"


def test_an_unknown_service_is_told(isotherm, server):
    """The name is in the sentence."""
    result = isotherm("health", "absent", "--address", server.address)

    assert result.exit_code == 1
    assert result.stderr == (
        f"error: the server at {server.address} knows no health service 'absent'\n"
    )


def test_nobody_at_the_address_is_a_failure(isotherm):
    """A probe of a dead server is not 0."""
    result = isotherm("health", "--address", "127.0.0.1:1")

    assert result.exit_code == 1
    assert "UNAVAILABLE from 127.0.0.1:1" in result.stderr


def test_a_model_and_a_service_exclude_each_other(isotherm):
    """Both are names of the same thing."""
    result = isotherm("health", "line", "--service", "liveness")

    assert result.exit_code == 1
    assert "not both" in result.stderr
