"""The trace that a call belongs to goes with its metadata."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from isotherm.client import AsyncClient, Client, InvalidInputError
from isotherm.client._trace import with_trace
from tests.unit.client.conftest import LinearServer

TOKEN = (("authorization", "Bearer x"),)


def test_the_current_span_goes_along():
    """Behind whatever the call brings anyway."""
    tracer = TracerProvider().get_tracer("test")
    with tracer.start_as_current_span("outer") as span:
        bare, guarded = with_trace(None), with_trace(TOKEN)
    context = span.get_span_context()
    header = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    assert bare == (("traceparent", header),)
    assert guarded == (*TOKEN, ("traceparent", header))


def test_without_a_span_nothing_is_added():
    """OpenTelemetry being there is not enough."""
    assert with_trace(None) is None
    assert with_trace(TOKEN) is TOKEN


def test_who_does_not_trace_does_not_load_opentelemetry():
    """Though it is installed."""
    program = (
        "import sys; from isotherm.client._trace import with_trace\n"
        "assert with_trace(None) is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout == "[]\n"


@pytest.fixture(name="ended")
def _ended(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[ReadableSpan]]]:
    """The spans that have ended, of a program with a provider of them."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # It can be set once only, and other tests do without.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield lambda: list(exporter.get_finished_spans())
    provider.shutdown()


def _inferences(spans: list[ReadableSpan]) -> list[ReadableSpan]:
    return [span for span in spans if span.name == "inference.GRPCInferenceService/ModelInfer"]


def test_a_prediction_has_a_span_and_each_of_its_calls_one_below(
    server: LinearServer, ended: Callable[[], list[ReadableSpan]]
) -> None:
    """The server is told of the call's own span; an attempt that failed says why."""
    server.failures = [grpc.StatusCode.UNAVAILABLE]
    with Client(server.address) as client:
        client.predict("plane", [[1, 2, 3]])
        client.predict("plane", [[1, 2, 3]])
    spans = ended()
    first, _ = (span for span in spans if span.name == "predict plane")
    failed, answered, lone = _inferences(spans)

    assert first.context is not None
    assert [first.context.span_id] * 2 == [
        span.parent.span_id for span in (failed, answered) if span.parent
    ]
    assert [14, 0, 0] == [
        (span.attributes or {})["rpc.grpc.status_code"] for span in (failed, answered, lone)
    ]
    assert not failed.status.is_ok
    assert lone.kind is trace.SpanKind.CLIENT
    assert [span.context.span_id for span in (failed, answered, lone) if span.context] == [
        int(brought["traceparent"].split("-")[2], 16) for brought in server.metadata
    ]


def test_a_prediction_that_fails_says_so_in_its_span(
    server: LinearServer, ended: Callable[[], list[ReadableSpan]]
) -> None:
    """With the error as an event."""
    with Client(server.address) as client, pytest.raises(InvalidInputError):
        client.predict("plane", [[1, 2]])
    (span,) = (span for span in ended() if span.name == "predict plane")

    assert not span.status.is_ok
    assert [event.name for event in span.events] == ["exception"]


async def test_what_several_callers_share_links_to_each_of_them(
    server: LinearServer, ended: Callable[[], list[ReadableSpan]]
) -> None:
    """It belongs to none of their traces."""
    arrived, gate = threading.Event(), threading.Event()
    async with AsyncClient(server.address) as client:
        await client.predict("plane", [[0, 0, 0]])
        server.delay = lambda: [each() for each in (arrived.set, gate.wait)]
        first = asyncio.create_task(client.predict("plane", [[1, 2, 3]]))
        await asyncio.to_thread(arrived.wait)
        others = [asyncio.create_task(client.predict("plane", [[1, 1, 1]])) for _ in range(2)]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, *others)
    spans = ended()
    callers = [span for span in spans if span.name == "predict plane"]
    shared = _inferences(spans)[-1]

    assert shared.parent is None
    assert {link.context.span_id for link in shared.links} == {
        span.context.span_id for span in callers[-2:] if span.context
    }
    assert shared.context is not None
    assert shared.context.trace_id not in {
        span.context.trace_id for span in callers if span.context
    }
