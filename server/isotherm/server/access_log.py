"""The access log: a line for a share of the answered requests, and for those that got none.

A line costs some ten times what its request does, so answered requests are sampled; failures are
what one looks for, so all of them are logged, up to a number a second.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from isotherm.server.execution import Batch
from isotherm.server.logs import Fields, Quoted
from isotherm.server.trace_context import trace_id_of

_log = logging.getLogger("isotherm.access")

# Under overload a line for every refusal would cost more than what is refused.
MAX_FAILURES_PER_S: Final = 100
_MAX_ID: Final = 64


class AccessLog:
    """Writes what became of requests; for the loop's thread only."""

    def __init__(self, share: float) -> None:
        """Log so many of the answered requests: 1 is all, 0.01 every hundredth."""
        self._every = 1 / share
        self._answered = 0
        self._next = 1.0
        self._second = 0
        self._failures = 0
        # Whatever level the server logs from: who asks for this log wants it.
        _log.setLevel(logging.INFO)

    def answered(self, name: str, version: int, batch: Batch, encode_ns: int) -> None:
        """Note a batch whose requests were all answered with OK."""
        first = self._answered + 1
        self._answered += len(batch.jobs)
        while self._next <= self._answered:
            job = batch.jobs[int(self._next) - first]
            queue_ns = batch.started_ns - job.arrived_ns
            fields = Fields(
                "answered",
                model=name,
                version=version,
                code="OK",
                rows=job.rows,
                id=Quoted(job.context.request_id[:_MAX_ID]),
                duration_us=(queue_ns + batch.assemble_ns + batch.run_ns + encode_ns) // 1000,
                queue_us=queue_ns // 1000,
                run_us=batch.run_ns // 1000,
                batch_rows=batch.rows,
            )
            _write(fields, trace_id_of(job.caller))
            self._next += self._every

    def failed(
        self,
        name: str,
        version: int,
        code: str,
        reason: str,
        duration_ns: int,
        trace_id: str = "",
    ) -> None:
        """Note a request that ended with an error."""
        second = int(time.monotonic())
        if second != self._second:
            if self._failures > MAX_FAILURES_PER_S:
                _log.warning(
                    "%d more requests failed and are not listed",
                    self._failures - MAX_FAILURES_PER_S,
                )
            self._second, self._failures = second, 0
        self._failures += 1
        if self._failures <= MAX_FAILURES_PER_S:
            fields = Fields(
                "failed",
                model=name,
                version=version,
                code=code,
                duration_us=duration_ns // 1000,
                reason=Quoted(reason),
            )
            _write(fields, trace_id)


def _write(fields: Fields, trace_id: str) -> None:
    if trace_id:
        fields.fields["trace_id"] = trace_id
    _log.info(fields)
