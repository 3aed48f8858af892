"""Traces: which calls are followed, and what spans are made of them once they are answered.

Calls that are not followed go the way they would go without tracing: a gate looks at the metadata
of each call, and puts a wrapper around those that are followed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from isotherm.server import exemplars, trace_context
from isotherm.server.config import TracingConfig
from isotherm.server.errors import ConfigError
from isotherm.server.execution import Batch, Job
from isotherm.server.model_counters import ModelCounters
from isotherm.server.service.traced_call import TracedCall
from isotherm.server.trace_context import Origin
from isotherm.server.transport.call import (
    Call,
    Gate,
    Metadata,
    StatusCode,
    Stream,
    StreamCall,
    Unary,
)

if TYPE_CHECKING:
    # It loads OpenTelemetry, for those alone who trace.
    from isotherm.server.spans import Attributes, Span, Spans

# Of these the server is the cause, by OpenTelemetry's conventions; of the others the caller is.
_FAULTS: Final = frozenset(
    {
        StatusCode.UNKNOWN,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.UNIMPLEMENTED,
        StatusCode.INTERNAL,
        StatusCode.UNAVAILABLE,
        StatusCode.DATA_LOSS,
    }
)
_MAX_ID: Final = 64


class OpenStream(Protocol):
    """Opens a stream; `follow` may put a wrapper around each of its requests."""

    def __call__(self, call: StreamCall, follow: Callable[[Call], Call] | None = None) -> None:
        """Open it."""


def open_traces(config: TracingConfig, worker: int) -> Traces | None:
    """Return what follows calls; None where nothing is traced; ConfigError without the extra."""
    if config.endpoint is None:
        return None
    try:
        from isotherm.server.spans import Spans
    except ModuleNotFoundError as error:
        msg = "--tracing-endpoint needs OpenTelemetry: pip install 'isotherm[tracing]'"
        raise ConfigError(msg) from error
    return Traces(Spans(config, worker), config.share)


class Traces:
    """Follows calls, on the loop's thread. Callers decide about traces of theirs."""

    def __init__(self, spans: Spans, share: float) -> None:
        """Begin a trace for a share of the calls that belong to none."""
        self._spans = spans
        self._share = share
        # Calls that are answered, but whose batch is not closed.
        self._answered = 0

    def unary(self, handle: Callable[[Call, bytes], None]) -> Gate:
        """Return a method whose calls are followed."""
        plain = Unary(handle)

        def choose(metadata: Metadata) -> Unary:
            origin = self._origin(trace_context.parse(metadata))
            if origin is None:
                return plain
            # From now on the server has the call, though not yet its message.
            started_ns = time.perf_counter_ns()
            return Unary(
                lambda call, message: handle(
                    TracedCall(call, origin, started_ns, self._ended), message
                )
            )

        return Gate(choose)

    def stream(self, open_stream: OpenStream) -> Gate:
        """Return a method of whose calls each request is followed, as if it had come alone."""
        plain = Stream(open_stream)

        def choose(metadata: Metadata) -> Stream:
            caller = trace_context.parse(metadata)
            if not (self._share if caller is None else caller.sampled):
                return plain
            return Stream(lambda call: open_stream(call, lambda one: self._followed(one, caller)))

        return Gate(choose)

    def name(self, call: Call, model: str, version: int) -> None:
        """Note whose a call is that will be refused."""
        if isinstance(call, TracedCall):
            call.model = model, version

    def closed(self, batch: Batch, model: str, version: int, counters: ModelCounters) -> None:
        """Make the spans of a batch that is answered, if any of its requests are followed."""
        if not self._answered:
            return
        members = [
            (job, job.caller)
            for job in batch.jobs
            if isinstance(job.caller, TracedCall) and job.caller.answered
        ]
        if not members:
            return
        self._answered -= len(members)
        wall_ns = _wall_ns()
        started_ns = wall_ns + batch.started_ns
        run_ns = started_ns + batch.assemble_ns
        which: dict[str, str | int] = {"isotherm.model": model, "isotherm.version": version}
        spans = [self._answer(job, call, which, wall_ns) for job, call in members]
        together = self._spans.inner(
            "batch",
            started_ns,
            wall_ns + time.perf_counter_ns(),
            links=spans,
            attributes={
                **which,
                "isotherm.batch.rows": batch.rows,
                "isotherm.batch.requests": len(batch.jobs),
                "isotherm.batch.close_reason": batch.reason.name.lower(),
            },
        )
        for (job, call), span in zip(members, spans, strict=True):
            self._spans.inner("queue", wall_ns + job.arrived_ns, started_ns, parent=span)
            self._spans.inner("run", run_ns, run_ns + batch.run_ns, parent=span, links=[together])
            span.end(wall_ns + call.ended_ns)
            exemplars.note(counters.words, call.origin.trace_id, call.ended_ns - job.arrived_ns)

    def close(self, timeout_s: float) -> None:
        """Send what is left; call once no call is left."""
        self._spans.close(timeout_s)

    def _ended(self, call: TracedCall, details: str) -> None:
        if call.answered:
            # Its batch is closed when the last of its callers has an answer: all is known then.
            self._answered += 1
            return
        wall_ns = _wall_ns()
        span = self._begin(call, wall_ns + call.started_ns)
        if call.model is not None:
            span.set_attribute("isotherm.model", call.model[0])
            span.set_attribute("isotherm.version", call.model[1])
        if call.code in _FAULTS:
            self._spans.fault(span, details)
        span.end(wall_ns + call.ended_ns)

    def _answer(
        self, job: Job, call: TracedCall, which: dict[str, str | int], wall_ns: int
    ) -> Span:
        # A request of a stream has arrived before it is followed.
        span = self._begin(call, wall_ns + min(call.started_ns, job.arrived_ns))
        span.set_attributes(which | {"isotherm.rows": job.rows})
        if job.context.request_id:
            span.set_attribute("isotherm.request_id", job.context.request_id[:_MAX_ID])
        if call.code in _FAULTS:
            self._spans.fault(span, "the caller has gone")
        return span

    def _begin(self, call: TracedCall, start_ns: int) -> Span:
        _, service, method = call.path.split("/")
        attributes: Attributes = {
            "rpc.system": "grpc",
            "rpc.service": service,
            "rpc.method": method,
            "rpc.grpc.status_code": int(call.code),
        }
        return self._spans.server(call.origin, call.path[1:], start_ns, attributes)

    def _origin(self, caller: Origin | None) -> Origin | None:
        if caller is not None:
            return caller if caller.sampled else None
        return trace_context.begin() if random.random() < self._share else None

    def _followed(self, call: Call, caller: Origin | None) -> Call:
        origin = self._origin(caller)
        if origin is None:
            return call
        return TracedCall(call, origin, time.perf_counter_ns(), self._ended)


def _wall_ns() -> int:
    """Return what makes a time of perf_counter_ns() one since the epoch, as the clock is now."""
    return time.time_ns() - time.perf_counter_ns()
