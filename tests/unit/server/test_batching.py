"""Dynamic batching, driven by hand: the loop falls idle, timers are due, when the test says so."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from isotherm.server.batching import Batcher
from isotherm.server.config import BatchingConfig
from isotherm.server.counters import Block
from isotherm.server.errors import (
    AbandonedError,
    DeviceLostError,
    ExecutionError,
    ExpiredError,
    HopelessError,
    OverloadedError,
    RequestError,
)
from isotherm.server.execution import Array, Batch, Job, Runner
from isotherm.server.layout import CloseReason, Phase
from isotherm.server.totals import ModelTotals, total
from tests.unit.server.fakes import FakeCall, FakeLoop, shapes


def double(inputs: Sequence[Array]) -> list[Array]:
    """The model of most tests."""
    return [inputs[0] * 2]


def refuse_thirteen(inputs: Sequence[Array]) -> list[Array]:
    """A model that fails as soon as any row is 13."""
    if (inputs[0] == 13).any():
        msg = "unlucky"
        raise RuntimeError(msg)
    return double(inputs)


class Queue:
    """A batcher, its loop, and all that it did: its outcome is this object."""

    def __init__(
        self,
        run: Callable[[Sequence[Array]], list[Array]] = double,
        *,
        inline: bool = True,
        batched: bool = True,
        seconds: Callable[[int], float] | None = None,
        **config: Any,
    ) -> None:
        self.loop = FakeLoop()
        self.runs: list[tuple[int, ...]] = []
        self.answers: dict[Job, list[list[float]]] = {}
        self.batches: list[int] = []
        self.noted: list[tuple[int, int]] = []
        self.closed_batches: list[tuple[int, int, CloseReason]] = []
        self.refusals: dict[Job, RequestError] = {}
        self.unwritable = False
        self._run = run
        self._block = Block.create([])
        counters = self._block.open_model("m", 1)
        self.batcher = Batcher(
            Runner(
                run=self._recorded, inline=lambda _rows: inline, batched=batched, seconds=seconds
            ),
            self,
            self.loop,
            BatchingConfig(**config),
            counters,
        )

    def _recorded(self, inputs: Sequence[Array]) -> list[Array]:
        self.runs.append(shapes(inputs)[0])
        return self._run(inputs)

    def respond(self, jobs: Sequence[Job], outputs: Sequence[Array]) -> None:
        if self.unwritable:
            raise OSError
        start = 0
        for job in jobs:
            self.answers[job] = outputs[0][start : start + job.rows].tolist()
            start += job.rows
        self.batches.append(len(jobs))

    def refuse(self, job: Job, error: RequestError) -> None:
        self.refusals[job] = error

    def answered(self, batch: Batch, encode_ns: int) -> None:
        assert encode_ns >= 0
        self.noted.append((len(batch.jobs), batch.rows))

    def closed(self, batch: Batch) -> None:
        # Nobody is still waiting.
        assert all(job in self.answers or job in self.refusals for job in batch.jobs)
        self.closed_batches.append((len(batch.jobs), batch.rows, batch.reason))

    def lost(self, error: DeviceLostError) -> None:
        raise AssertionError

    def submit(self, *values: float, **changes: Any) -> Job:
        job = make_job(*values, **changes)
        self.batcher.submit(job)
        return job

    @property
    def totals(self) -> ModelTotals:
        (totals,) = total([self._block])
        return totals

    @property
    def reasons(self) -> dict[CloseReason, int]:
        counts = zip(CloseReason, self.totals.batches, strict=True)
        return {reason: count for reason, count in counts if count}


def make_job(
    *values: float, caller: FakeCall | None = None, waited_s: float = 0.0, key: object = None
) -> Job:
    """A job with one row a value, submitted a while ago."""
    arrived_ns = time.perf_counter_ns() - int(waited_s * 1e9)
    array = np.array(values, np.float32)[:, np.newaxis]
    caller = caller or FakeCall()
    return Job([array], len(values), caller, arrived_ns, key, size_bytes=array.nbytes)


def test_nothing_runs_before_the_loop_falls_idle():
    """What has arrived is handled first: it may be more company."""
    queue = Queue()
    queue.submit(1)

    assert queue.runs == []


def test_jobs_that_arrived_together_run_as_one_batch():
    """Three jobs are one run, and each gets its own rows back."""
    queue = Queue()
    jobs = [queue.submit(1), queue.submit(2, 3), queue.submit(4)]
    queue.loop.run_deferred()

    assert queue.runs == [(4, 1)]
    assert [queue.answers[job] for job in jobs] == [[[2]], [[4], [6]], [[8]]]
    assert queue.reasons == {CloseReason.IDLE: 1}


def test_one_look_at_the_queue_is_scheduled_however_many_jobs_arrive():
    """The second job finds the first one's appointment."""
    queue = Queue()
    for value in range(5):
        queue.submit(value)

    assert len(queue.loop.deferred) == 1


def test_a_batch_counts_rows_not_requests():
    """Jobs of 3, 2 and 2 rows at a limit of 5: the third does not fit any more."""
    queue = Queue(max_batch_size=8)
    queue.submit(1, 2, 3)
    queue.submit(4, 5)
    late = queue.submit(6, 7, 8, 9)
    assert queue.runs == [(5, 1)]
    queue.loop.run_deferred()

    assert queue.runs == [(5, 1), (4, 1)]
    assert queue.answers[late] == [[12], [14], [16], [18]]


def test_a_full_batch_starts_at_once():
    """Under pressure the loop may never fall idle, and the batch can grow no more."""
    queue = Queue(max_batch_size=4)
    queue.submit(1, 2)
    queue.submit(3, 4)

    assert queue.runs == [(4, 1)]
    assert queue.reasons == {CloseReason.FULL: 1}


def test_a_request_larger_than_a_batch_runs_in_slices_and_comes_back_whole():
    """Eleven rows at a limit of four: runs of 4, 4 and 3."""
    queue = Queue(max_batch_size=4)
    job = queue.submit(*range(11))

    assert queue.runs == [(4, 1), (4, 1), (3, 1)]
    assert queue.answers[job] == [[2 * value] for value in range(11)]
    assert (queue.totals.executions, queue.totals.rows) == (3, 11)
    assert [(size, row[0]) for size, row in queue.totals.exact_batches()] == [(3, 1), (4, 2)]


def test_a_large_request_shares_its_runs_with_nobody():
    """The jobs before and after it have batches of their own."""
    queue = Queue(max_batch_size=4)
    before = queue.submit(1)
    large = queue.submit(*range(5))
    after = queue.submit(2)
    queue.loop.run_deferred()
    queue.loop.run_deferred()

    assert queue.runs == [(1, 1), (4, 1), (1, 1), (1, 1)]
    assert {before, large, after} == set(queue.answers)


def test_a_model_that_cannot_be_batched_runs_every_job_alone():
    """One run a job, whatever the limit is."""
    queue = Queue(batched=False)
    for value in range(3):
        queue.submit(value)
    for _ in range(3):
        queue.loop.run_deferred()

    assert queue.runs == [(1, 1)] * 3
    assert queue.totals.executions == 3


def test_only_jobs_of_equal_keys_share_a_batch():
    """Neighbours of another key wait for the next run; order is kept."""
    queue = Queue()
    first = [queue.submit(1, key="a"), queue.submit(2, key="a")]
    second = queue.submit(3, key="b")
    third = queue.submit(4, key="a")
    for _ in range(3):
        queue.loop.run_deferred()

    assert queue.runs == [(2, 1), (1, 1), (1, 1)]
    assert list(queue.answers) == [*first, second, third]


def test_several_inputs_are_joined_each_with_its_own():
    """Two jobs with two inputs reach the model as two arrays."""

    def add(inputs: Sequence[Array]) -> list[Array]:
        return [inputs[0] + inputs[1]]

    queue = Queue(add)
    jobs = []
    for value in (1.0, 2.0):
        left, right = np.full((1, 1), value), np.full((1, 1), 10 * value)
        jobs.append(Job([left, right], 1, FakeCall(), time.perf_counter_ns()))
        queue.batcher.submit(jobs[-1])
    queue.loop.run_deferred()

    assert [queue.answers[job] for job in jobs] == [[[11.0]], [[22.0]]]
    assert queue.runs == [(2, 1)]


def test_a_failed_batch_is_run_again_job_by_job_so_that_only_the_culprit_fails():
    """The neighbours of a poisoned request get their answers."""
    queue = Queue(refuse_thirteen)
    good, bad, also_good = queue.submit(1), queue.submit(13), queue.submit(2)
    queue.loop.run_deferred()

    assert queue.answers == {good: [[2]], also_good: [[4]]}
    assert list(queue.refusals) == [bad]
    assert isinstance(queue.refusals[bad], ExecutionError)
    assert str(queue.refusals[bad]) == "the model failed on this request: unlucky"
    assert queue.runs == [(3, 1), (1, 1), (1, 1), (1, 1)]


def test_a_request_that_fails_alone_is_not_run_twice():
    """There is no neighbour to save."""
    queue = Queue(refuse_thirteen)
    bad = queue.submit(13)
    queue.loop.run_deferred()

    assert queue.runs == [(1, 1)]
    assert list(queue.refusals) == [bad]


def test_the_queue_goes_on_after_a_failure():
    """The next job is answered."""
    queue = Queue(refuse_thirteen)
    queue.submit(13)
    queue.loop.run_deferred()
    good = queue.submit(1)
    queue.loop.run_deferred()

    assert queue.answers == {good: [[2]]}


def test_failed_runs_are_not_counted_as_executions():
    """Two good rows of three: two executions, two successes."""
    queue = Queue(refuse_thirteen)
    for value in (1, 13, 2):
        queue.submit(value)
    queue.loop.run_deferred()

    assert (queue.totals.executions, queue.totals.rows) == (2, 2)
    assert queue.totals.duration.count == 2


def test_a_model_that_answers_with_too_few_rows_fails_instead_of_mixing_them_up():
    """A graph may promise one row an input row and break it: nobody gets another one's rows."""
    queue = Queue(lambda inputs: [inputs[0].sum(axis=0, keepdims=True)])
    alone, pair = queue.submit(1), queue.submit(2, 3)
    queue.loop.run_deferred()

    assert queue.answers == {alone: [[1]]}
    assert list(queue.refusals) == [pair]
    assert str(queue.refusals[pair]) == ("the model failed on this request: it gave 1 rows for 2")


def test_a_job_whose_caller_has_gone_is_dropped_before_the_model_sees_it():
    """The others run without it."""
    queue = Queue()
    gone = queue.submit(1, caller=FakeCall(cancelled=True))
    here = queue.submit(2)
    queue.loop.run_deferred()

    assert queue.runs == [(1, 1)]
    assert queue.answers == {here: [[4]]}
    assert isinstance(queue.refusals[gone], AbandonedError)


def test_a_caller_that_goes_while_its_job_waits_is_noticed():
    """Being cancelled is looked at when the batch is built, not when the job is queued."""
    queue = Queue()
    caller = FakeCall()
    job = queue.submit(1, caller=caller)
    caller.cancelled = True
    queue.loop.run_deferred()

    assert queue.runs == []
    assert isinstance(queue.refusals[job], AbandonedError)
    assert queue.reasons == {}


def test_a_job_whose_deadline_has_passed_is_dropped_before_the_model_sees_it():
    """Its answer would be thrown away."""
    queue = Queue()
    late = queue.submit(1, caller=FakeCall(deadline=time.time() - 0.001))
    in_time = queue.submit(2, caller=FakeCall(deadline=time.time() + 60))
    queue.loop.run_deferred()

    assert queue.answers == {in_time: [[4]]}
    assert isinstance(queue.refusals[late], ExpiredError)


def test_dropped_rows_make_room_in_the_same_batch():
    """What nobody waits for does not count against the limit."""
    queue = Queue(max_batch_size=4)
    queue.submit(1, 2, 3, caller=FakeCall(cancelled=True))
    here = queue.submit(4, 5)
    queue.loop.run_deferred()

    assert queue.runs == [(2, 1)]
    assert list(queue.answers) == [here]


def test_a_queue_that_is_full_in_rows_refuses_at_once():
    """The text says how much waits, the error when to come back."""
    queue = Queue(max_batch_size=4, max_queue_rows=4, inline=False)
    try:
        blocker = queue.submit(0, 0, 0, 0)
        waiting = [queue.submit(1, 2), queue.submit(3, 4)]
        with pytest.raises(OverloadedError) as refusal:
            queue.submit(5)
        queue.loop.run_posted()
        queue.loop.run_deferred()
        queue.loop.run_posted()
    finally:
        queue.batcher.close()

    assert str(refusal.value) == "Exceeds maximum queue size: 4 rows are waiting"
    assert refusal.value.retry_after_s == 0.01
    assert list(queue.answers) == [blocker, *waiting]


def test_a_queue_that_is_full_in_bytes_refuses_at_once():
    """Two jobs of eight bytes fit into sixteen, a third does not."""
    queue = Queue(max_queue_bytes=16)
    queue.submit(1, 2)
    queue.submit(3, 4)
    with pytest.raises(OverloadedError, match="Exceeds maximum queue size: 4 rows are waiting"):
        queue.submit(5)


def test_a_run_makes_room_in_rows_and_bytes():
    """The bounds count what waits, not what ever came."""
    queue = Queue(max_batch_size=2, max_queue_rows=2, max_queue_bytes=8)
    for value in range(10):
        queue.submit(value)
        queue.loop.run_deferred()

    assert len(queue.answers) == 10


class Blocked(Queue):
    """A queue whose model is in a run until it is released; a run of n rows takes n seconds."""

    def __init__(self, **changes: Any) -> None:
        self.release = threading.Event()

        def held(inputs: Sequence[Array]) -> list[Array]:
            assert self.release.wait(30)
            return double(inputs)

        super().__init__(held, inline=False, **{"seconds": float} | changes)

    def end(self) -> None:
        """Let all runs end, and answer them."""
        self.release.set()
        while not self.batcher.idle:
            self.loop.run_posted()
            self.loop.run_deferred()
        self.batcher.close()


def test_the_metrics_say_how_long_jobs_wait_and_would_wait():
    """By the clock and by the runs so far; nothing of an idle queue."""
    queue = Blocked()
    queue.submit(0, 0, 0)
    queue.loop.run_deferred()
    queue.submit(1, 2, waited_s=4)
    queue.batcher.show_waiting()
    age_s, wait_s = queue.totals.queue_oldest_age_s, queue.totals.expected_wait_s
    queue.end()
    queue.batcher.show_waiting()

    assert 4 <= age_s < 60
    # Three seconds of the run under way, two of the rows that wait.
    assert 4.9 < wait_s <= 5
    assert (queue.totals.queue_oldest_age_s, queue.totals.expected_wait_s) == (0, 0)


def test_a_job_whose_answer_would_come_too_late_is_refused_at_once():
    """It would take a place in the queue from others, in vain."""
    queue = Blocked()
    queue.submit(0, 0, 0)
    queue.loop.run_deferred()
    waiting = queue.submit(1, 2)
    with pytest.raises(HopelessError) as refusal:
        queue.submit(3, caller=FakeCall(deadline=time.time() + 5))
    in_time = queue.submit(4, caller=FakeCall(deadline=time.time() + 7))
    without = queue.submit(5)
    queue.end()

    # Three seconds of the run under way, two of the rows that wait; its own is the sixth.
    text = r"its deadline in \d+ ms would pass in the queue: 2 rows before it take some \d+ ms"
    assert re.fullmatch(text, str(refusal.value))
    assert 4.9 < refusal.value.retry_after_s <= 5
    assert {waiting, in_time, without} <= queue.answers.keys()


def test_short_batches_are_not_planned():
    """They end before it matters, and each look at the clock costs them dear."""
    queue = Queue(seconds=float)
    jobs = [queue.submit(value, caller=FakeCall(deadline=time.time() + 1.5)) for value in (1, 2, 3)]
    queue.loop.run_deferred()

    assert queue.batches == [3]
    assert queue.noted == [(3, 3)]
    assert queue.answers.keys() == {*jobs}


def test_instances_share_what_waits():
    """With two of them the queue is twice as short."""
    queue = Blocked(instances=2)
    for rows in (1, 3):
        queue.submit(*range(rows))
        queue.loop.run_deferred()
    queue.submit(0, 0, 0, 0)
    with pytest.raises(HopelessError):
        queue.submit(1, caller=FakeCall(deadline=time.time() + 3.5))
    in_time = queue.submit(1, caller=FakeCall(deadline=time.time() + 4.5))
    queue.end()

    assert in_time in queue.answers


def test_while_nobody_knows_how_long_a_run_takes_nobody_is_refused():
    """A model that could not be timed is learned by its first run."""
    queue = Blocked(seconds=None)
    queue.submit(1)
    queue.loop.run_deferred()
    hurried = queue.submit(2, caller=FakeCall(deadline=time.time() + 10))
    queue.end()

    assert hurried in queue.answers


def test_an_empty_queue_takes_a_job_of_any_size():
    """Or a request beyond the bounds could never be answered."""
    queue = Queue(max_batch_size=2, max_queue_rows=2, max_queue_bytes=1)
    job = queue.submit(*range(9))

    assert len(queue.answers[job]) == 9


def test_a_refused_caller_is_told_to_wait_as_long_as_the_last_run_took():
    """By then the queue has moved."""
    queue = Queue(max_queue_rows=1024)
    queue.submit(1)
    queue.loop.run_deferred()
    queue.submit(*range(1000))
    with pytest.raises(OverloadedError) as refusal:
        queue.submit(*range(100))
    ((_, (_, _, run_ns, _)),) = queue.totals.exact_batches()

    assert refusal.value.retry_after_s == run_ns / 1e9


def test_a_delay_makes_a_batch_wait_for_company():
    """The timer is set for what is left of the first job's delay."""
    queue = Queue(max_queue_delay_us=50_000)
    first = queue.submit(1)
    queue.loop.run_deferred()
    assert queue.runs == []
    ((delay_s, _),) = queue.loop.timers
    second = queue.submit(2, waited_s=1)
    queue.loop.run_deferred()

    assert 0 < delay_s <= 0.05
    assert len(queue.loop.timers) == 1
    assert queue.answers.keys().isdisjoint({first, second})


def test_a_batch_that_waited_out_its_delay_runs():
    """The delay counts from the first job's arrival, and is why the batch was closed."""
    queue = Queue(max_queue_delay_us=50_000)
    queue.submit(1, waited_s=0.051)
    queue.submit(2)
    queue.loop.run_deferred()

    assert queue.runs == [(2, 1)]
    assert queue.reasons == {CloseReason.DELAY: 1}


def test_a_timer_that_comes_early_is_set_again():
    """Only the first job's own time decides."""
    queue = Queue(max_queue_delay_us=10_000_000)
    queue.submit(1)
    queue.loop.run_deferred()
    queue.loop.run_timers()

    assert queue.runs == []
    assert len(queue.loop.timers) == 1


def test_a_full_batch_does_not_wait_for_its_delay():
    """There is no room for more company."""
    queue = Queue(max_queue_delay_us=10_000_000, max_batch_size=2)
    queue.submit(1)
    queue.loop.run_deferred()
    queue.submit(2)

    assert queue.runs == [(2, 1)]
    assert queue.reasons == {CloseReason.FULL: 1}


def test_full_batches_leave_no_timers_behind():
    """At most one timer is set at a time, however many batches fill up before theirs is due."""
    queue = Queue(max_queue_delay_us=10_000_000, max_batch_size=2)
    for _ in range(10):
        queue.submit(1)
        queue.loop.run_deferred()
        queue.submit(2)
    queue.submit(3)
    queue.loop.run_deferred()
    queue.loop.run_timers()
    queue.loop.run_deferred()

    assert queue.runs == [(2, 1)] * 10
    assert len(queue.loop.timers) == 1


def test_a_caller_who_can_wait_no_longer_closes_the_batch():
    """With what the run will take, and the answer's way, in mind."""
    queue = Queue(seconds=lambda _rows: 0.2, max_queue_delay_us=10_000_000)
    patient = queue.submit(1, caller=FakeCall(deadline=time.time() + 60))
    queue.loop.run_deferred()
    before = [delay_s for delay_s, _ in queue.loop.timers]
    hurried = queue.submit(2, caller=FakeCall(deadline=time.time() + 0.3))
    queue.loop.run_deferred()
    (_, (soon_s, _)) = queue.loop.timers
    time.sleep(soon_s)
    queue.loop.run_timers()

    assert 9 < before[0] <= 10
    assert 0 < soon_s < 0.1
    assert queue.answers == {patient: [[2]], hurried: [[4]]}
    assert queue.reasons == {CloseReason.DEADLINE: 1}


def test_a_preferred_size_does_not_wait_for_its_delay():
    """The largest that there are rows for; what is left waits on."""
    queue = Queue(max_queue_delay_us=10_000_000, preferred_batch_sizes=(2, 4))
    jobs = [queue.submit(value) for value in (1, 2, 3, 4, 5)]
    queue.loop.run_deferred()
    queue.loop.run_deferred()

    assert queue.runs == [(4, 1)]
    assert set(queue.answers) == set(jobs[:4])
    assert queue.reasons == {CloseReason.FULL: 1}
    assert len(queue.loop.timers) == 1


def test_draining_ends_the_wait_for_company():
    """A stopping server runs what it has; the batch says why."""
    queue = Queue(max_queue_delay_us=10_000_000)
    job = queue.submit(1)
    queue.batcher.drain()
    queue.loop.run_deferred()

    assert queue.answers == {job: [[2]]}
    assert queue.reasons == {CloseReason.DRAIN: 1}


def test_draining_does_not_wait_for_a_timer_that_is_set():
    """A long delay must not hold up the server's end."""
    queue = Queue(max_queue_delay_us=10_000_000)
    job = queue.submit(1)
    queue.loop.run_deferred()
    queue.batcher.drain()
    queue.loop.run_deferred()
    queue.loop.run_timers()

    assert queue.answers == {job: [[2]]}


def test_draining_an_empty_queue_schedules_nothing():
    """There is nothing to look at."""
    queue = Queue()
    queue.batcher.drain()

    assert queue.loop.deferred == []


def test_jobs_that_come_while_draining_are_answered():
    """Calls are welcome until the transport refuses them."""
    queue = Queue(max_queue_delay_us=10_000_000)
    queue.batcher.drain()
    job = queue.submit(1)
    queue.loop.run_deferred()

    assert queue.answers == {job: [[2]]}


def test_a_long_batch_runs_on_its_own_thread_and_comes_back_to_the_loop():
    """The loop's thread only answers."""
    threads = []

    def where(inputs: Sequence[Array]) -> list[Array]:
        threads.append(threading.current_thread())
        return double(inputs)

    queue = Queue(where, inline=False)
    job = queue.submit(1)
    queue.loop.run_deferred()
    assert queue.answers == {}
    queue.loop.run_posted()
    queue.batcher.close()

    assert queue.answers == {job: [[2]]}
    assert threads[0] is not threading.current_thread()


def test_the_callers_of_a_long_batch_are_answered_in_parts():
    """What arrives for other models meanwhile does not wait for all of them."""
    queue = Queue(inline=False)
    jobs = [queue.submit(value) for value in range(20)]
    queue.loop.run_deferred()
    queue.loop.run_posted()
    answered, idle = [len(queue.answers)], [queue.batcher.idle]
    while queue.loop.timers:
        queue.loop.run_timers()
        answered.append(len(queue.answers))
        idle.append(queue.batcher.idle)
    queue.batcher.close()

    assert answered == [8, 16, 20]
    assert idle == [False, False, True]
    assert queue.answers == {job: [[2 * number]] for number, job in enumerate(jobs)}
    assert (queue.totals.executions, queue.totals.requests[0]) == (1, 20)
    assert queue.noted == [(8, 20), (8, 20), (4, 20)]
    assert queue.closed_batches == [(20, 20, CloseReason.IDLE)]


def test_the_next_long_batch_runs_while_the_last_is_answered():
    """Or the instance would stand idle for as long as answers take to write."""
    queue = Blocked()
    queue.submit(1)
    queue.loop.run_deferred()
    for value in range(9):
        queue.submit(value)
    queue.release.set()
    queue.loop.run_posted()
    queue.loop.run_posted()

    assert [len(queue.answers), queue.loop.deferred] == [9, []]
    queue.loop.run_timers()
    queue.end()
    assert queue.batches == [1, 8, 1]


def test_what_arrives_during_a_run_is_the_next_batch():
    """Natural batching: the rows that came while one batch ran leave together."""
    started, release = threading.Event(), threading.Event()

    def held(inputs: Sequence[Array]) -> list[Array]:
        started.set()
        assert release.wait(30)
        return double(inputs)

    queue = Queue(held, inline=False)
    queue.submit(1)
    queue.loop.run_deferred()
    assert started.wait(30)
    company = [queue.submit(value) for value in (2, 3, 4)]
    assert queue.loop.deferred == []
    waiting = queue.totals.queue_requests, queue.totals.queue_rows
    release.set()
    queue.loop.run_posted()
    queue.loop.run_deferred()
    queue.loop.run_posted()
    queue.batcher.close()

    assert waiting == (3, 3)
    assert queue.runs == [(1, 1), (3, 1)]
    assert [queue.answers[job] for job in company] == [[[4]], [[6]], [[8]]]
    assert (queue.totals.queue_requests, queue.totals.queue_rows) == (0, 0)


def test_a_full_queue_does_not_start_a_second_run_beside_the_first():
    """One run at a time on one thread, also under pressure."""
    release = threading.Event()

    def held(inputs: Sequence[Array]) -> list[Array]:
        assert release.wait(30)
        return double(inputs)

    queue = Queue(held, inline=False, max_batch_size=2)
    for value in range(6):
        queue.submit(value)
    assert queue.loop.posted.empty()
    release.set()
    queue.loop.run_posted()
    queue.loop.run_deferred()
    queue.loop.run_posted()
    queue.loop.run_deferred()
    queue.loop.run_posted()
    queue.batcher.close()

    assert queue.runs == [(2, 1)] * 3


def test_as_many_long_batches_run_at_once_as_there_are_instances():
    """The third waits, and takes the rows that came meanwhile with it."""
    both, release = threading.Barrier(3), threading.Event()

    def held(inputs: Sequence[Array]) -> list[Array]:
        if inputs[0][0, 0] < 3:
            both.wait(30)
        assert release.wait(30)
        return double(inputs)

    queue = Queue(held, inline=False, instances=2)
    first = queue.submit(1)
    queue.loop.run_deferred()
    second = queue.submit(2)
    queue.loop.run_deferred()
    both.wait(30)
    company = [queue.submit(value) for value in (3, 4)]
    assert queue.loop.deferred == []
    assert not queue.batcher.idle
    release.set()
    queue.loop.run_posted()
    queue.loop.run_deferred()
    queue.loop.run_posted()
    queue.loop.run_posted()
    queue.batcher.close()

    assert queue.runs == [(1, 1), (1, 1), (2, 1)]
    assert [queue.answers[job] for job in (first, second, *company)] == [[[2]], [[4]], [[6]], [[8]]]
    assert queue.batcher.idle


def test_what_does_not_fit_into_one_long_batch_goes_to_the_next_instance():
    """Rows do not wait while an instance is idle."""
    both = threading.Barrier(2)

    def met(inputs: Sequence[Array]) -> list[Array]:
        both.wait(30)
        return double(inputs)

    queue = Queue(met, inline=False, instances=2, max_batch_size=2)
    jobs = [queue.submit(value) for value in (1, 2, 3)]
    queue.loop.run_deferred()
    queue.loop.run_posted()
    queue.loop.run_posted()
    queue.batcher.close()

    assert [queue.answers[job] for job in jobs] == [[[2]], [[4]], [[6]]]


def test_a_failure_on_the_other_thread_reaches_its_caller():
    """Isolation works there too."""
    queue = Queue(refuse_thirteen, inline=False)
    good, bad = queue.submit(1), queue.submit(13)
    queue.loop.run_deferred()
    queue.loop.run_posted()
    queue.batcher.close()

    assert list(queue.answers) == [good]
    assert list(queue.refusals) == [bad]


def test_closing_waits_for_the_run_under_way():
    """No answer may come after the transport's end."""
    queue = Queue(inline=False)
    job = queue.submit(1)
    queue.loop.run_deferred()
    queue.batcher.close()
    queue.loop.run_posted()

    assert list(queue.answers) == [job]


def test_closing_a_queue_that_never_needed_a_thread_does_nothing():
    """Threads are made on demand."""
    before = threading.active_count()
    queue = Queue()
    queue.batcher.close()

    assert threading.active_count() == before


def test_the_counters_of_a_batch_are_exact():
    """Requests, rows, executions, phases and their sums for one batch of three rows."""
    queue = Queue()
    queue.submit(1, waited_s=1)
    queue.submit(2, 3)
    queue.loop.run_deferred()
    totals = queue.totals

    assert totals.requests[0] == 2
    assert (totals.rows, totals.executions) == (3, 1)
    assert totals.batch_histogram[2] == 1
    assert [totals.phase(phase).count for phase in Phase] == [2, 2, 2, 2]
    assert totals.duration.count == 2
    assert totals.duration.sum_ns == sum(totals.phase(phase).sum_ns for phase in Phase)
    assert 1.0 <= totals.phase(Phase.QUEUE).sum_ns / 1e9 < 20
    ((size, (executions, assemble_ns, run_ns, encode_ns)),) = totals.exact_batches()
    assert (size, executions) == (3, 1)
    assert totals.phase(Phase.RUN).sum_ns == 2 * run_ns
    assert totals.phase(Phase.ASSEMBLE).sum_ns == 2 * assemble_ns
    assert totals.phase(Phase.ENCODE).sum_ns == 2 * encode_ns


def test_batches_are_counted_by_why_they_were_closed():
    """Full, idle, and the one that was cut short by another key."""
    queue = Queue(max_batch_size=2)
    queue.submit(1, 2)
    queue.submit(3, key="a")
    queue.loop.run_deferred()
    queue.submit(4, key="b", waited_s=0)

    assert queue.reasons == {CloseReason.FULL: 1, CloseReason.IDLE: 1}


def test_an_answer_that_cannot_be_written_ends_its_callers_and_not_the_queue():
    """Whatever the encoder trips over, nobody waits for ever."""
    queue = Queue()
    queue.unwritable = True
    jobs = [queue.submit(1), queue.submit(2)]
    queue.loop.run_deferred()
    queue.unwritable = False
    later = queue.submit(3)
    queue.loop.run_deferred()

    assert [str(queue.refusals[job]) for job in jobs] == ["the answer could not be written"] * 2
    assert queue.answers[later] == [[6.0]]
