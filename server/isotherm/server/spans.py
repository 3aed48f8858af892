"""Spans: what OpenTelemetry makes of our timestamps, and where it sends them.

The one module that knows OpenTelemetry, and only loaded where calls are traced. Every span is made
when all of it is known; a thread of the SDK's own sends them.
"""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace.span import TraceState

from isotherm.server.config import TracingConfig
from isotherm.server.trace_context import Origin

_log = logging.getLogger(__name__)

Attributes = Mapping[str, str | int]

__all__ = ["Attributes", "Span", "Spans"]

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)


class Spans:
    """Makes spans, with times in nanoseconds since the epoch, and has them sent."""

    def __init__(self, config: TracingConfig, worker: int) -> None:
        """Send to an OTLP receiver; whether it is there shows when the first spans are sent."""
        self._url = config.url
        # It warns of each tracestate that it cannot read: callers could fill the log.
        logging.getLogger("opentelemetry.trace.span").setLevel(logging.ERROR)
        self._ids = _Ids()
        # Which calls are followed was decided when they came.
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=_resource(worker),
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        exporter = OTLPSpanExporter(endpoint=config.url)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("isotherm", metadata.version("isotherm"))

    def server(self, origin: Origin, name: str, start_ns: int, attributes: Attributes) -> Span:
        """Return the span of a call, still to be ended."""
        self._ids.trace_id = origin.trace_id
        return self._tracer.start_span(
            name, _context(origin), SpanKind.SERVER, attributes, start_time=start_ns
        )

    def inner(
        self,
        name: str,
        start_ns: int,
        end_ns: int,
        *,
        parent: Span | None = None,
        links: Sequence[Span] = (),
        attributes: Attributes | None = None,
    ) -> Span:
        """Make the span of a part of a call, or one that begins a trace of its own."""
        context = Context() if parent is None else set_span_in_context(parent, Context())
        self._ids.trace_id = 0
        span = self._tracer.start_span(
            name,
            context,
            SpanKind.INTERNAL,
            attributes,
            links=[Link(other.get_span_context()) for other in links],
            start_time=start_ns,
        )
        span.end(end_ns)
        return span

    def fault(self, span: Span, text: str) -> None:
        """Say in a call's span that it failed by the server's fault."""
        span.set_status(Status(StatusCode.ERROR, text))

    def close(self, timeout_s: float) -> None:
        """Send what is left, for as long as there is time."""
        # The SDK would wait for half a minute for a receiver that is not there.
        sending = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        sending.start()
        sending.join(timeout_s)
        if sending.is_alive():
            _log.warning("the last spans could not be sent to %s in time", self._url)


class _Ids(RandomIdGenerator):
    """Gives the next trace the number that was drawn when its first call came."""

    def __init__(self) -> None:
        self.trace_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id or super().generate_trace_id()


def _context(origin: Origin) -> Context:
    if not origin.span_id:
        return Context()
    state = TraceState.from_header([origin.state]) if origin.state else None
    caller = SpanContext(origin.trace_id, origin.span_id, True, _SAMPLED, state)
    return set_span_in_context(NonRecordingSpan(caller), Context())


def _resource(worker: int) -> Resource:
    return Resource.create(
        {
            "service.name": os.environ.get("OTEL_SERVICE_NAME", "isotherm"),
            "service.version": metadata.version("isotherm"),
            "service.instance.id": str(uuid.uuid4()),
            "process.pid": os.getpid(),
            "isotherm.worker": worker,
        }
    )
