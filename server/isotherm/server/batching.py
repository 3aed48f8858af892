"""Dynamic batching: many small requests in, few large runs out. Knows no gRPC, no ONNX.

Natural batching: nothing waits while the model is idle, and the rows that arrive while one batch
runs are the next batch. Batches count rows. Everything here happens on the loop's thread, except
the runs of batches too long for it, or on a device, which happen on a thread an instance.
"""

from __future__ import annotations

import time
from typing import Final

from isotherm.server.answering import Answering, Outcome
from isotherm.server.closing import Closing
from isotherm.server.config import BatchingConfig
from isotherm.server.errors import DeviceLostError, HopelessError
from isotherm.server.execution import Batch, Execution, Job, Runner
from isotherm.server.executor import Executor
from isotherm.server.loop import Loop
from isotherm.server.model_counters import ModelCounters
from isotherm.server.pace import Pace
from isotherm.server.waiting import ANSWER_S, Waiting

# What a refused caller is told to wait when nothing has run yet.
_DEFAULT_RETRY_S: Final = 0.01
# Timers closer to each other than this are one.
_SAME_TIME_NS: Final = 1_000_000
# Of the time to a deadline, what admission gives away: nothing that is foretold is quite right.
_PROMISED: Final = 0.9


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
        # When each instance that is in a run will be free, by when its batch was started; all as
        # perf_counter_ns().
        self._free_at_ns: dict[int, int] = {}
        self._scheduled = False
        self._timer_at_ns: int | None = None
        self._shown_wait_s = 0.0
        max_rows = config.max_batch_size if runner.batched else 1
        self._pace = Pace(runner.seconds, max_rows)
        self._waiting = Waiting(config, self._pace, outcome.refuse)
        self._closing = Closing(config, self._pace, max_rows)
        self._instances = len(runner.lanes) or config.instances
        self._execute = Execution(runner, config.max_batch_size)
        self._answering = Answering(outcome, loop, counters, self._execute.runs, runner.watch)
        self._executor: Executor | None = None

    def submit(self, job: Job) -> None:
        """Queue a job; raise OverloadedError at once when it would wait in vain."""
        waiting = self._waiting
        waiting.check_room(job, self._answering.last_run_s or _DEFAULT_RETRY_S)
        if self._free_at_ns:
            self._check_deadline(job)
        waiting.append(job)
        self._counters.queue(len(waiting), waiting.rows)
        if not self._has_room():
            return
        if waiting.rows >= self._config.max_batch_size:
            # Under pressure the loop may never be idle, and this batch can grow no more.
            self._start_batch()
        elif not self._scheduled:
            self._schedule()

    @property
    def idle(self) -> bool:
        """Whether nothing waits, nothing runs, and everybody has an answer."""
        return not (self._waiting or self._free_at_ns or self._answering.pending)

    def show_waiting(self) -> None:
        """Let the metrics say since when the oldest request waits, and how long a new one would."""
        wait_s = self._expected_wait_s() if self._waiting or self._free_at_ns else 0.0
        if self._waiting:
            self._counters.waited(self._waiting.oldest_ns)
        # A server may have hundreds of models, of which most idle.
        if wait_s or self._shown_wait_s:
            self._counters.expected_wait(wait_s)
            self._shown_wait_s = wait_s

    def drain(self) -> None:
        """Wait for company no longer: the server is stopping."""
        self._closing.draining = True
        if self._waiting and self._has_room():
            self._schedule()

    def close(self) -> None:
        """End the executor's threads, after the runs they are in."""
        if self._executor is not None:
            self._executor.close()

    def _check_deadline(self, job: Job) -> None:
        deadline = job.caller.deadline
        if deadline is None:
            return
        left_s = deadline - time.time()
        # An answer that is late is worse than a refusal: others could have had the time.
        wait_s = self._expected_wait_s()
        if wait_s + self._pace.surely_s(job.rows) + ANSWER_S > left_s * _PROMISED:
            msg = (
                f"its deadline in {max(0.0, left_s) * 1000:.0f} ms would pass in the queue: "
                f"{self._waiting.rows} rows before it take some {wait_s * 1000:.0f} ms"
            )
            raise HopelessError(msg, retry_after_s=wait_s)

    def _expected_wait_s(self) -> float:
        """Return how long a job that comes now will wait, by the runs so far."""
        before_s = self._pace.surely_s(self._waiting.rows) / self._instances
        if self._has_room():
            return before_s
        now_ns = time.perf_counter_ns()
        return max(0.0, (min(self._free_at_ns.values()) - now_ns) / 1e9) + before_s

    def _has_room(self) -> bool:
        return len(self._free_at_ns) < self._instances

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
        waiting, closing = self._waiting, self._closing
        if not waiting or not self._has_room():
            return
        wait_s = closing.wait_s(waiting, waiting.oldest_ns, waiting.rows)
        if wait_s > 0:
            self._wait(wait_s)
            return
        # What is over before anybody looks at the clock needs no plan.
        in_time = not self._runner.inline(min(waiting.rows, closing.limit_rows))
        jobs, rows, reason = waiting.take(closing.limit_rows, closing.reason, in_time=in_time)
        self._counters.queue(len(waiting), waiting.rows)
        if waiting:
            self._counters.waited(waiting.oldest_ns)
        if jobs:
            self._counters.closed_batch(reason)
            self._run(Batch(jobs, rows, time.perf_counter_ns(), reason=reason))

    def _run(self, batch: Batch) -> None:
        if self._runner.inline(batch.rows):
            for result in self._execute(batch, inline=True):
                self._answering.at_once(result)
            self._go_on()
            return
        # No two batches may be taken for one, however coarse the clock.
        while batch.started_ns in self._free_at_ns:
            batch.started_ns += 1
        run_ns = int(self._pace.surely_s(batch.rows) * 1e9)
        self._free_at_ns[batch.started_ns] = batch.started_ns + run_ns
        self._executor = self._executor or Executor(
            self._execute, self._on_executed, self._instances, self._runner.lanes
        )
        self._executor.submit(batch)
        self._go_on()

    def _on_executed(self, results: list[Batch]) -> None:
        def finish() -> None:
            started_ns = results[0].started_ns
            del self._free_at_ns[started_ns]
            if len(results) == 1 and results[0].error is None:
                # With the ways to the other thread and back, which callers wait for too.
                took_ns = time.perf_counter_ns() - started_ns
                self._pace.ran(results[0].rows, took_ns / 1e9)
            # The instance works on while these are answered.
            self._start_batch()
            for batch in results:
                self._answering.in_parts(batch)
            self._go_on()
            if isinstance(results[-1].error, DeviceLostError):
                self._outcome.lost(results[-1].error)

        self._loop.call_soon_threadsafe(finish)

    def _go_on(self) -> None:
        if self._waiting and not self._scheduled and self._has_room():
            # Other models' batches, and what has just arrived, come first.
            self._schedule()
