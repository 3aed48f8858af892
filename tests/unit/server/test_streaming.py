"""Streams of requests on one call. What they answer: tests/conformance/test_stream.py."""

from __future__ import annotations

from pathlib import Path

from isotherm.server.service.streaming import StreamingService
from isotherm.server.transport.call import StatusCode
from tests.unit.server.fakes import FakeCall
from tests.unit.server.test_inference import Service, doubling


def test_closing_ends_a_stream_once_its_answers_are_out(tmp_path: Path):
    """What comes after that is not taken."""
    service = Service(tmp_path)
    streams = StreamingService(service.service)
    call = FakeCall()
    streams.open(call)
    call.on_message(doubling(1).SerializeToString())
    streams.close()
    open_still = call.status is None
    call.on_message(doubling(2).SerializeToString())
    service.loop.run_deferred()

    assert open_still
    assert len(call.sent) == 1
    assert (call.code, call.details) == (StatusCode.UNAVAILABLE, "the server is stopping")


def test_a_stream_that_is_opened_while_the_server_stops_is_ended_at_once(tmp_path: Path):
    """Its call was on its way when the others were ended: it would hold the stop for the grace."""
    streams = StreamingService(Service(tmp_path).service)
    streams.close()
    call = FakeCall()
    streams.open(call)

    assert (call.code, call.details) == (StatusCode.UNAVAILABLE, "the server is stopping")
