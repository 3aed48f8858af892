"""The access log: a line for a share of the answered requests, and for those that got none.

A line costs some ten times what its request does, so answered requests are sampled; failures are
what one looks for, so all of them are logged, up to a number a second.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Final

from isotherm.server.execution import Batch

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
            _log.info(
                "model=%s version=%d code=OK rows=%d id=%s duration_us=%d queue_us=%d run_us=%d "
                "batch_rows=%d",
                name,
                version,
                job.rows,
                _quoted(job.context.request_id),
                (queue_ns + batch.assemble_ns + batch.run_ns + encode_ns) // 1000,
                queue_ns // 1000,
                batch.run_ns // 1000,
                batch.rows,
            )
            self._next += self._every

    def failed(self, name: str, version: int, code: str, reason: str, duration_ns: int) -> None:
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
            _log.info(
                "model=%s version=%d code=%s duration_us=%d reason=%s",
                name,
                version,
                code,
                duration_ns // 1000,
                json.dumps(reason),
            )


def _quoted(request_id: str) -> str:
    # A caller's own text: no line of ours may end where it says.
    return json.dumps(request_id[:_MAX_ID])
