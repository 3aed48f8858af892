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

    result = isotherm("health", "--service", name, "--address", server.address)

    assert result.stdout == "SERVING\n"


def test_a_server_that_answers_for_itself_is_asked_about_the_model(isotherm, server):
    """Triton's health service does not look at the name."""
    server.health["line"] = 1
    server.ready = False

    result = isotherm("health", "line", "--address", server.address)

    assert (result.stdout, result.exit_code) == ("NOT_SERVING\n", 1)


@pytest.mark.parametrize("arguments", [[], ["line"]])
@pytest.mark.parametrize(("ready", "expected"), [(True, "SERVING"), (False, "NOT_SERVING")])
def test_a_server_without_the_service_is_asked_by_the_protocol(
    isotherm, server, arguments, ready, expected
):
    """MLServer and KServe have none."""
    server.absent.add("Check")
    server.ready = ready

    result = isotherm("health", *arguments, "--address", server.address)

    assert (result.stdout, result.exit_code) == (f"{expected}\n", 0 if ready else 1)


def test_a_service_has_nothing_to_take_its_place(isotherm, server):
    """No method of the protocol knows such names."""
    server.absent.add("Check")

    result = isotherm("health", "--service", "liveness", "--address", server.address)

    assert (result.stdout, result.exit_code) == ("", 1)
    assert "UNIMPLEMENTED" in result.stderr


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
