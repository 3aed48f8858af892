"""Spans of a client's calls, for programs that trace with OpenTelemetry.

OpenTelemetry is no dependency. Where no provider of spans is set, the
current span's context still goes along with every call.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import grpc

from isotherm.client._security import Metadata

# Who traces has imported it.
MODULE: Final = "opentelemetry.trace"
_NAME: Final = "isotherm.client"


def traces() -> bool:
    """Tell whether spans are wanted: a provider of them has been set."""
    if MODULE not in sys.modules:
        return False
    from opentelemetry import trace

    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def with_trace(metadata: Metadata | None) -> Metadata | None:
    """Return what a call brings: `metadata`, and the current span's context where there is one."""
    if MODULE not in sys.modules:
        return metadata
    from opentelemetry import trace

    if not trace.get_current_span().get_span_context().is_valid:
        return metadata
    return _with(metadata, None)


def current() -> Any:
    """Return the context of the current span, for `CallSpan`; None where nobody traces."""
    if not traces():
        return None
    from opentelemetry import trace

    context = trace.get_current_span().get_span_context()
    return context if context.is_valid else None


@contextmanager
def prediction(model: str, target: str) -> Iterator[None]:
    """Run the block in a span of its own: all that one prediction takes, waiting included."""
    from opentelemetry import trace

    attributes = {"isotherm.model.name": model, "server.address": target}
    with trace.get_tracer(_NAME).start_as_current_span(f"predict {model}", attributes=attributes):
        yield


class CallSpan:
    """The span of one attempt of a call.

    The request of one caller is a child of that caller's span. What several callers share belongs
    to none of them: it begins a trace of its own, with a link to each.
    """

    def __init__(self, path: str, model: str, target: str, callers: Sequence[Any] = ()) -> None:
        """`callers` are their contexts; without any, the current span is the parent."""
        from opentelemetry import trace
        from opentelemetry.context import Context

        service, _, method = path.removeprefix("/").partition("/")
        parent = None
        if len(callers) == 1:
            parent = trace.set_span_in_context(trace.NonRecordingSpan(callers[0]), Context())
        elif callers:
            parent = Context()
        self._span = trace.get_tracer(_NAME).start_span(
            f"{service}/{method}",
            context=parent,
            kind=trace.SpanKind.CLIENT,
            links=[trace.Link(context) for context in callers] if len(callers) > 1 else None,
            attributes={
                "rpc.system": "grpc",
                "rpc.service": service,
                "rpc.method": method,
                "server.address": target,
                "isotherm.model.name": model,
            },
        )

    def metadata(self, brought: Metadata | None) -> Metadata | None:
        """Return what the call brings, with this span's context."""
        from opentelemetry import trace

        return _with(brought, trace.set_span_in_context(self._span))

    def end(self, code: grpc.StatusCode | None) -> None:
        """End the span with the call's status; None where the caller gave it up."""
        from opentelemetry import trace

        code = grpc.StatusCode.CANCELLED if code is None else code
        self._span.set_attribute("rpc.grpc.status_code", code.value[0])
        if code is not grpc.StatusCode.OK:
            self._span.set_status(trace.StatusCode.ERROR, code.name)
        self._span.end()


def _with(metadata: Metadata | None, context: Any) -> Metadata | None:
    from opentelemetry import propagate

    carrier: dict[str, str] = {}
    # By the propagators that the caller has chosen; W3C's unless it has.
    propagate.inject(carrier, context)
    # gRPC takes names in lower case alone.
    return (*(metadata or ()), *((name.lower(), value) for name, value in carrier.items()))
