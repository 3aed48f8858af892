"""The trace that a call belongs to goes with its metadata."""

from __future__ import annotations

import subprocess
import sys

from opentelemetry.sdk.trace import TracerProvider

from isotherm.client._trace import with_trace

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
