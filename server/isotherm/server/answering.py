"""Answering: what has run goes to its callers, is counted, and gives its buffers back.

Everything here happens on the loop's thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from isotherm.server.errors import DeviceLostError, ExecutionError, RequestError
from isotherm.server.execution import Array, Batch, Job
from isotherm.server.loop import Loop
from isotherm.server.model_counters import ModelCounters

_log = logging.getLogger(__name__)

# A long batch may have many callers. Those of other models wait for no more answers than these.
_AT_A_TIME: Final = 8


class Outcome(Protocol):
    """What a batcher's owner does with what it hands back, on the loop's thread."""

    def respond(self, jobs: Sequence[Job], outputs: Sequence[Array]) -> None:
        """Answer every job with its rows of `outputs`, which hold the jobs' rows in order."""

    def refuse(self, job: Job, error: RequestError) -> None:
        """End one job with an error."""

    def answered(self, batch: Batch, encode_ns: int) -> None:
        """Take note of a batch, or a part of one, whose answers are written and counted."""

    def closed(self, batch: Batch) -> None:
        """Take note of a batch that is over: each of its jobs has an answer, or an error."""

    def lost(self, error: DeviceLostError) -> None:
        """Take note that the model's device is lost; callers of its batch have been told."""


class Answering:
    """The answers of one model version's batches."""

    def __init__(
        self,
        outcome: Outcome,
        loop: Loop,
        counters: ModelCounters,
        runs: Callable[[int], list[int]],
        watch: Callable[[Sequence[Array], Sequence[Array]], None] | None,
    ) -> None:
        """`runs` tells in which sizes so many rows were run; `watch` is shown every batch."""
        self._outcome = outcome
        self._loop = loop
        self._counters = counters
        self._runs = runs
        self._watch = watch
        # Batches whose callers do not all have their answers.
        self.pending = 0
        # What the last batch took.
        self.last_run_s = 0.0

    def at_once(self, batch: Batch) -> None:
        """Answer a batch whose outputs hold until the next run."""
        if batch.error is not None:
            self._refuse(batch, batch.error)
            return
        self._count(batch)
        self._close(batch, self._answer(batch))
        self._show(batch)

    def in_parts(self, batch: Batch) -> None:
        """Answer a batch whose outputs are its own, a few callers now and the others later."""
        if batch.error is not None:
            self._refuse(batch, batch.error)
            return
        self._count(batch)
        self.pending += 1
        self._answer_in_parts(batch, batch.parts(_AT_A_TIME), 0)

    def _answer_in_parts(self, batch: Batch, parts: list[Batch], encode_ns: int) -> None:
        """Answer the first of the parts, and the others after whatever arrives meanwhile."""
        encode_ns += self._answer(parts[0])
        if len(parts) > 1:
            # After the batches of other models that are due.
            self._loop.call_later(0, lambda: self._answer_in_parts(batch, parts[1:], encode_ns))
            return
        try:
            self._close(batch, encode_ns)
            self._show(batch)
        finally:
            # Whatever its owner makes of it: a version that has answered can be retired.
            if batch.release is not None:
                batch.outputs = ()
                batch.release()
            self.pending -= 1

    def _refuse(self, batch: Batch, error: RequestError) -> None:
        for job in batch.jobs:
            self._outcome.refuse(job, error)

    def _count(self, batch: Batch) -> None:
        """Count a batch before its answers are sent: whoever has one finds it counted."""
        self.last_run_s = batch.run_ns / 1e9
        for rows in self._runs(batch.rows):
            self._counters.executed(rows)

    def _show(self, batch: Batch) -> None:
        """Show a batch to who looks at all that runs; its inputs are not needed any longer."""
        if self._watch is None:
            return
        try:
            self._watch(batch.inputs, batch.outputs)
        except Exception:  # noqa: BLE001  everybody has an answer, and the next batch is due
            _log.exception("this is a bug: a batch could not be looked at")
        batch.inputs = ()

    def _answer(self, batch: Batch) -> int:
        """Answer a batch, or a part of one; return the nanoseconds that it took."""
        self._counters.answered(len(batch.jobs))
        start_ns = time.perf_counter_ns()
        try:
            self._outcome.respond(batch.jobs, batch.outputs)
        except Exception:  # noqa: BLE001  callers must not wait for an answer that cannot be written
            _log.exception("this is a bug: an answer could not be written")
            self._refuse(batch, ExecutionError("the answer could not be written"))
            return time.perf_counter_ns() - start_ns
        encode_ns = time.perf_counter_ns() - start_ns
        self._counters.answered_in(
            [job.arrived_ns for job in batch.jobs],
            batch.started_ns,
            batch.assemble_ns,
            batch.run_ns,
            encode_ns,
        )
        self._outcome.answered(batch, encode_ns)
        return encode_ns

    def _close(self, batch: Batch, encode_ns: int) -> None:
        """Add what a batch took; each slice of a large request has its share of the time."""
        runs = self._runs(batch.rows)
        times = (ns // len(runs) for ns in (batch.assemble_ns, batch.run_ns, encode_ns))
        assemble_ns, run_ns, encode_ns = times
        for rows in runs:
            self._counters.executed_in(rows, assemble_ns, run_ns, encode_ns)
        self._outcome.closed(batch)
