"""Dynamic batching: many small requests in, few large runs out. Knows no gRPC, no ONNX.

Natural batching: nothing waits while the model is idle, and the rows that arrive while one batch
runs are the next batch. Batches count rows. Everything here happens on the loop's thread, except
the runs of batches too long for it, which happen on a thread an instance.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from isotherm.server.closing import Closing
from isotherm.server.config import BatchingConfig
from isotherm.server.counters import ModelCounters
from isotherm.server.errors import (
    AbandonedError,
    ExecutionError,
    ExpiredError,
    HopelessError,
    OverloadedError,
    QueueTimeoutError,
    RequestError,
)
from isotherm.server.execution import Array, Batch, Execution, Executor, Job, Runner
from isotherm.server.layout import CloseReason
from isotherm.server.pace import Pace

_log = logging.getLogger(__name__)

# What a refused caller is told to wait when nothing has run yet.
_DEFAULT_RETRY_S: Final = 0.01
# Timers closer to each other than this are one.
_SAME_TIME_NS: Final = 1_000_000


class Loop(Protocol):
    """The thread that everything but long runs happens on."""

    def defer(self, callback: Callable[[], None]) -> None:
        """Call back once everything that has arrived so far is handled."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call back after a delay."""

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        """Call back soon, from any thread."""


class Outcome(Protocol):
    """What a batcher's owner does with what it hands back, on the loop's thread."""

    def respond(self, jobs: Sequence[Job], outputs: Sequence[Array]) -> None:
        """Answer every job with its rows of `outputs`, which hold the jobs' rows in order."""

    def refuse(self, job: Job, error: RequestError) -> None:
        """End one job with an error."""


class Batcher:
    """The queue of one model version."""

    def __init__(
        self,
        runner: Runner,
        outcome: Outcome,
        loop: Loop,
        config: BatchingConfig,
        counters: ModelCounters,
    ) -> None:
        self._runner = runner
        self._outcome = outcome
        self._loop = loop
        self._config = config
        self._counters = counters
        self._jobs: deque[Job] = deque()
        self._rows = 0
        self._bytes = 0
        # Instances that are in a run.
        self._running = 0
        # When they will be free, by when their batches were started; as perf_counter_ns().
        self._free_at_ns: dict[int, int] = {}
        self._scheduled = False
        self._timer_at_ns: int | None = None
        self._last_run_s = 0.0
        max_rows = config.max_batch_size if runner.batched else 1
        self._pace = Pace(runner.seconds, max_rows)
        self._closing = Closing(config, self._pace, max_rows)
        self._execute = Execution(runner, config.max_batch_size)
        self._executor: Executor | None = None

    def submit(self, job: Job) -> None:
        """Queue a job; raise OverloadedError at once when it would wait in vain."""
        self._admit(job)
        if self._running:
            self._admit_by_deadline(job)
        self._jobs.append(job)
        self._rows += job.rows
        self._bytes += job.size_bytes
        self._counters.queue(len(self._jobs), self._rows)
        if not self._has_room():
            return
        if self._rows >= self._config.max_batch_size:
            # Under pressure the loop may never be idle, and this batch can grow no more.
            self._start_batch()
        elif not self._scheduled:
            self._schedule()

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._jobs and not self._running

    def drain(self) -> None:
        """Wait for company no longer: the server is stopping."""
        self._closing.draining = True
        if self._jobs and self._has_room():
            self._schedule()

    def close(self) -> None:
        """End the executor's threads, after the runs they are in."""
        if self._executor is not None:
            self._executor.close()

    def _admit(self, job: Job) -> None:
        # An empty queue takes a job of any size, or a large one could never be answered.
        if not self._jobs:
            return
        config = self._config
        over_rows = self._rows + job.rows > config.max_queue_rows
        over_bytes = self._bytes + job.size_bytes > config.max_queue_bytes
        over_requests = 0 < config.max_queue_requests <= len(self._jobs)
        if over_rows or over_bytes or over_requests:
            msg = f"Exceeds maximum queue size: {self._rows} rows are waiting"
            raise OverloadedError(msg, retry_after_s=self._last_run_s or _DEFAULT_RETRY_S)

    def _admit_by_deadline(self, job: Job) -> None:
        deadline = job.caller.deadline
        if deadline is None:
            return
        left_s = deadline - time.time()
        wait_s = self._expected_wait_s()
        own_s = self._pace.seconds(job.rows if self._runner.batched else 1)
        if wait_s + own_s > left_s:
            msg = (
                f"its deadline in {max(0.0, left_s) * 1000:.0f} ms would pass in the queue: "
                f"{self._rows} rows before it take some {wait_s * 1000:.0f} ms"
            )
            raise HopelessError(msg, retry_after_s=wait_s)

    def _expected_wait_s(self) -> float:
        """Return how long a job that comes now will wait, by the runs so far."""
        before_s = self._pace.seconds(self._rows if self._runner.batched else len(self._jobs))
        before_s /= self._config.instances
        if self._has_room():
            return before_s
        now_ns = time.perf_counter_ns()
        free_at_ns = min(self._free_at_ns.values(), default=now_ns)
        return max(0.0, (free_at_ns - now_ns) / 1e9) + before_s

    def _has_room(self) -> bool:
        return self._running < self._config.instances

    def _schedule(self) -> None:
        self._scheduled = True
        self._loop.defer(self._on_idle)

    def _on_idle(self) -> None:
        self._scheduled = False
        self._start_batch()

    def _wait(self, wait_s: float) -> None:
        """Look again later, unless that is planned anyway."""
        at_ns = time.perf_counter_ns() + int(wait_s * 1e9)
        if self._timer_at_ns is not None and self._timer_at_ns <= at_ns + _SAME_TIME_NS:
            return
        self._timer_at_ns = at_ns

        def on_time() -> None:
            if self._timer_at_ns == at_ns:
                self._timer_at_ns = None
            self._start_batch()

        self._loop.call_later(wait_s, on_time)

    def _start_batch(self) -> None:
        if not self._jobs or not self._has_room():
            return
        wait_s = self._closing.wait_s(self._jobs, self._jobs[0].arrived_ns, self._rows)
        if wait_s > 0:
            self._wait(wait_s)
            return
        batch = self._take()
        self._counters.queue(len(self._jobs), self._rows)
        if batch is None:
            return
        if self._runner.inline(batch.rows):
            self._finish(self._execute(batch, inline=True))
        else:
            self._running += 1
            run_ns = int(self._pace.seconds(batch.rows if self._runner.batched else 1) * 1e9)
            self._free_at_ns[batch.started_ns] = batch.started_ns + run_ns
            self._executor = self._executor or Executor(
                self._execute, self._on_executed, self._config.instances
            )
            self._executor.submit(batch)
            self._go_on()

    def _take(self) -> Batch | None:
        """Take jobs of one key up to the batch limit; drop those that nobody waits for."""
        limit = self._closing.limit_rows
        jobs: list[Job] = []
        rows = 0
        reason = self._closing.reason
        now_s = time.time()
        while self._jobs:
            job = self._jobs[0]
            if not self._still_wanted(job, now_s):
                self._pop()
                continue
            if jobs and (rows + job.rows > limit or job.key != jobs[0].key):
                reason = CloseReason.FULL
                break
            jobs.append(self._pop())
            rows += job.rows
            if rows >= limit:
                reason = CloseReason.FULL
                break
        if not jobs:
            return None
        self._counters.closed_batch(reason)
        return Batch(jobs, rows, time.perf_counter_ns())

    def _pop(self) -> Job:
        job = self._jobs.popleft()
        self._rows -= job.rows
        self._bytes -= job.size_bytes
        return job

    def _still_wanted(self, job: Job, now_s: float) -> bool:
        caller = job.caller
        if caller.cancelled:
            self._outcome.refuse(job, AbandonedError("the caller has gone"))
            return False
        if caller.deadline is not None and caller.deadline <= now_s:
            self._outcome.refuse(job, ExpiredError("the deadline passed in the queue"))
            return False
        if job.expires_s is not None and job.expires_s <= now_s:
            self._outcome.refuse(job, QueueTimeoutError("Request timeout expired"))
            return False
        return True

    def _on_executed(self, results: list[Batch]) -> None:
        def finish() -> None:
            self._running -= 1
            self._free_at_ns.pop(results[0].started_ns, None)
            if len(results) == 1 and results[0].error is None:
                rows = results[0].rows if self._runner.batched else 1
                self._pace.ran(rows, (results[0].assemble_ns + results[0].run_ns) / 1e9)
            self._finish(results)

        self._loop.call_soon_threadsafe(finish)

    def _finish(self, results: list[Batch]) -> None:
        for batch in results:
            self._answer(batch)
        self._go_on()

    def _go_on(self) -> None:
        if self._jobs and not self._scheduled and self._has_room():
            # Other models' batches, and what has just arrived, come first.
            self._schedule()

    def _answer(self, batch: Batch) -> None:
        if batch.error is not None:
            for job in batch.jobs:
                self._outcome.refuse(job, batch.error)
            return
        self._last_run_s = batch.run_ns / 1e9
        counters = self._counters
        runs = self._execute.runs(batch.rows)
        # Counted before they are sent: whoever has an answer finds it counted.
        for rows in runs:
            counters.executed(rows)
        counters.answered(len(batch.jobs))
        start_ns = time.perf_counter_ns()
        try:
            self._outcome.respond(batch.jobs, batch.outputs)
        except Exception:  # noqa: BLE001  callers must not wait for an answer that cannot be written
            _log.exception("this is a bug: an answer could not be written")
            for job in batch.jobs:
                self._outcome.refuse(job, ExecutionError("the answer could not be written"))
            return
        encode_ns = time.perf_counter_ns() - start_ns
        queue_ns = [batch.started_ns - job.arrived_ns for job in batch.jobs]
        counters.answered_in(queue_ns, batch.assemble_ns, batch.run_ns, encode_ns)
        # Each slice of a large request has its share of the time.
        times = (ns // len(runs) for ns in (batch.assemble_ns, batch.run_ns, encode_ns))
        assemble_ns, run_ns, encode_ns = times
        for rows in runs:
            counters.executed_in(rows, assemble_ns, run_ns, encode_ns)
