"""The trace that a call belongs to, for callers who trace with OpenTelemetry."""

from __future__ import annotations

import sys

from isotherm.client._security import Metadata


def with_trace(metadata: Metadata | None) -> Metadata | None:
    """Return what a call brings: `metadata`, and the current span's context where there is one.

    OpenTelemetry is no dependency: who has a current span has imported it.
    """
    if "opentelemetry.trace" not in sys.modules:
        return metadata
    from opentelemetry import propagate, trace

    if not trace.get_current_span().get_span_context().is_valid:
        return metadata
    carrier: dict[str, str] = {}
    # By the propagators that the caller has chosen; W3C's unless it has.
    propagate.inject(carrier)
    # gRPC takes names in lower case alone.
    context = tuple((name.lower(), value) for name, value in carrier.items())
    return (*(metadata or ()), *context)
