"""W3C trace context: which trace a call belongs to, as its metadata says."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

# Version, trace, the caller's span, flags; a later version may add more behind them.
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_INVALID_VERSION: Final = "ff"
_SAMPLED: Final = 1
_MAX_STATE: Final = 512


class Origin(NamedTuple):
    """Where a call comes from: a trace, and in it the caller's span, 0 when the call begins it."""

    trace_id: int
    span_id: int = 0
    # Whether the caller's own spans are recorded.
    sampled: bool = True
    state: str = ""


def begin() -> Origin:
    """Return the origin of a call that begins a trace."""
    return Origin(random.getrandbits(128) or 1)


def parse(metadata: Sequence[tuple[str, str]]) -> Origin | None:
    """Return what the caller says; None where it says nothing, or what cannot be read.

    An interceptor adds its header after one that was there before, so the last one counts.
    """
    parent = state = ""
    for key, value in metadata:
        if key == "traceparent":
            parent = value
        elif key == "tracestate":
            state = value
    match = _TRACEPARENT.fullmatch(parent)
    if match is None:
        return None
    version, trace, span, flags, more = match.groups()
    if version == _INVALID_VERSION or (version == "00" and more):
        return None
    trace_id, span_id = int(trace, 16), int(span, 16)
    if not (trace_id and span_id):
        return None
    sampled = bool(int(flags, 16) & _SAMPLED)
    return Origin(trace_id, span_id, sampled, state if len(state) <= _MAX_STATE else "")


def trace_id_of(call: object) -> str:
    """Return a call's trace in hexadecimal digits; "" where the call is not followed."""
    # Only calls that are followed have one: the others are the transport's, and pay nothing.
    trace_id: str = getattr(call, "trace_id", "")
    return trace_id
