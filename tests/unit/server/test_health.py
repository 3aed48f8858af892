"""grpc.health.v1 behind our calls."""

from __future__ import annotations

import pytest
from grpc_health.v1 import health_pb2

from isotherm.server.service.health import CHECK, LIVENESS, WATCH, HealthService
from isotherm.server.transport.call import StatusCode, Stream, Unary
from tests.unit.server.fakes import FakeCall
from tests.unit.server.serving import PATIENCE_S, Name, serving

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


def ask(service: str) -> bytes:
    """Return a request's bytes."""
    message: bytes = health_pb2.HealthCheckRequest(service=service).SerializeToString()
    return message


def statuses(call: FakeCall) -> list[int]:
    """Return what a call was sent."""
    return [health_pb2.HealthCheckResponse.FromString(data).status for data in call.sent]


def check(health: HealthService, message: bytes) -> FakeCall:
    """Call Check."""
    method = health.methods()[CHECK]
    assert isinstance(method, Unary)
    call = FakeCall()
    method.handle(call, message)
    return call


def watch(health: HealthService, message: bytes | None) -> FakeCall:
    """Open a Watch; None sends nothing yet."""
    method = health.methods()[WATCH]
    assert isinstance(method, Stream)
    call = FakeCall()
    method.open(call)
    if message is not None:
        call.on_message(message)
        call.on_half_close()
    return call


def test_a_new_server_lives_and_does_not_serve():
    """Until it is told otherwise."""
    health = HealthService()

    assert statuses(check(health, ask(""))) == [NOT_SERVING]
    assert statuses(check(health, ask(LIVENESS))) == [SERVING]


def test_a_status_that_was_set_is_answered():
    """For the server and for every model by name."""
    health = HealthService()
    health.set("model", serving=True)
    health.set("", serving=True)
    health.set("model", serving=False)

    assert statuses(check(health, ask("model"))) == [NOT_SERVING]
    assert statuses(check(health, ask(""))) == [SERVING]


def test_checking_an_unknown_service_is_not_found():
    """As the health protocol demands."""
    call = check(HealthService(), ask("nobody"))

    assert (call.code, call.details, call.sent) == (StatusCode.NOT_FOUND, "NOT_FOUND", [])


def test_watching_begins_with_the_status_now_and_goes_on_with_changes():
    """Setting what is already set is no change."""
    health = HealthService()
    call = watch(health, ask(""))
    for serving_ in (True, True, False, False, True):
        health.set("", serving=serving_)

    assert statuses(call) == [NOT_SERVING, SERVING, NOT_SERVING, SERVING]
    assert call.status is None


def test_watching_an_unknown_service_waits_for_it():
    """SERVICE_UNKNOWN first, and then what becomes of it."""
    health = HealthService()
    call = watch(health, ask("model"))
    health.set("model", serving=True)

    assert statuses(call) == [SERVICE_UNKNOWN, SERVING]


def test_a_watcher_that_has_gone_is_forgotten():
    """No update is sent to it, and nothing is raised."""
    health = HealthService()
    gone, here = watch(health, ask("")), watch(health, ask(""))
    gone.on_close()
    health.set("", serving=True)

    assert statuses(gone) == [NOT_SERVING]
    assert statuses(here) == [NOT_SERVING, SERVING]


def test_a_watcher_that_went_before_it_asked_is_no_trouble():
    """A stream may be cancelled before its first message."""
    call = watch(HealthService(), None)
    call.on_close()

    assert call.sent == []


def test_closing_ends_the_watches():
    """They would hold the server's stop for its whole grace."""
    health = HealthService()
    call = watch(health, ask(""))
    health.close()

    assert (call.code, call.details) == (StatusCode.UNAVAILABLE, "the server is stopping")


@pytest.mark.parametrize("asked", [True, False])
def test_a_watch_that_comes_too_late_is_ended_at_once(asked: bool):
    """It was accepted before the stop, and asks after it; or it never asks."""
    health = HealthService()
    call = watch(health, None)
    health.close()
    if asked:
        call.on_message(ask(""))

    assert call.code is StatusCode.UNAVAILABLE


def test_a_watch_that_is_opened_while_the_server_stops_is_ended_at_once():
    """Its call was on its way when the others were ended."""
    health = HealthService()
    health.close()

    assert watch(health, None).code is StatusCode.UNAVAILABLE


def test_bytes_that_are_no_request_are_the_callers_mistake():
    """In both methods."""
    calls = [check(HealthService(), b"\xff"), watch(HealthService(), b"\xff")]

    assert [(call.code, call.details) for call in calls] == [
        (StatusCode.INVALID_ARGUMENT, "the message is not a HealthCheckRequest")
    ] * 2


@pytest.mark.parametrize("name", ["core", "aio"])
def test_a_watch_over_a_socket_comes_and_goes_without_a_complaint(name: Name, caplog):
    """Updates arrive, and a client that leaves is forgotten."""
    health = HealthService()
    with serving(name, health.methods()) as server:
        updates = server.channel.unary_stream(
            WATCH,
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
        first = next(updates).status
        server.on_loop(lambda: health.set("", serving=True))
        second = next(updates).status
        updates.cancel()
        ended = server.next_ended()
        server.on_loop(lambda: health.set("", serving=False))
        server.on_loop(health.close)

    assert (first, second) == (NOT_SERVING, SERVING)
    assert ended == (WATCH, 1)
    assert caplog.text == ""


@pytest.mark.parametrize("service", ["model", "nobody"])
def test_probes_without_a_token_hear_nothing_of_models(service: str):
    """The same refusal whether there is such a model or not, by either method."""
    health = HealthService()
    health.set("model", serving=True)
    methods = health.public_methods()
    unary, stream = methods[CHECK], methods[WATCH]
    assert isinstance(unary, Unary)
    assert isinstance(stream, Stream)
    checked, watched = FakeCall(), FakeCall()
    unary.handle(checked, ask(service))
    stream.open(watched)
    watched.on_message(ask(service))

    text = "without a token only '' and 'liveness' may be asked for"
    assert checked.status == watched.status == (StatusCode.UNAUTHENTICATED, text, ())
    assert checked.sent + watched.sent == []


@pytest.mark.parametrize("service", ["", LIVENESS])
def test_probes_without_a_token_hear_of_the_server(service: str):
    """What a kubelet asks for, which can bring no token."""
    health = HealthService()
    health.set("", serving=True)
    methods = health.public_methods()
    unary, stream = methods[CHECK], methods[WATCH]
    assert isinstance(unary, Unary)
    assert isinstance(stream, Stream)
    checked, watched = FakeCall(), FakeCall()
    unary.handle(checked, ask(service))
    stream.open(watched)
    watched.on_message(ask(service))

    assert statuses(checked) == statuses(watched) == [SERVING]
