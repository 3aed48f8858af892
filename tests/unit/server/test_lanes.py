"""Batches on a device, from the queue to the answers, on lanes in the host's memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from isotherm.server import executor
from isotherm.server.batching import Batcher
from isotherm.server.config import BatchingConfig
from isotherm.server.counters import Block
from isotherm.server.device.lane import Lane
from isotherm.server.errors import DeviceLostError, ExecutionError, RequestError
from isotherm.server.execution import Array, Batch, Job, Runner
from isotherm.server.session import Session
from tests.support import models
from tests.support.host_device import HostDevice
from tests.unit.server.device.sessions import Recorded, opener
from tests.unit.server.fakes import FakeCall, FakeLoop

PATIENCE_S = 30


class Served:
    """A model on lanes, its queue, and what its callers are told."""

    def __init__(
        self,
        lanes: int = 1,
        *,
        max_rows: int = 64,
        inline_below: int = 0,
        device_from: int = 0,
        batched: bool = True,
        watched: bool = False,
        **session: Any,
    ) -> None:
        self.device = HostDevice()
        self.loop = FakeLoop()
        self.answers: dict[Job, np.ndarray] = {}
        self.refusals: dict[Job, RequestError] = {}
        self.lost_with: list[DeviceLostError] = []
        self.watched: list[tuple[np.ndarray, np.ndarray, int]] = []
        self.closed_batches: list[Batch] = []
        self.on_host: list[tuple[str, int]] = []
        self.unwritable = False
        self.unclosable = False
        self.lanes = [
            Lane(
                self.device,
                opener(**session),
                max_rows=max_rows if batched else 0,
                graphs=session.get("kind") is Recorded,
            )
            for _ in range(lanes)
        ]
        for lane in self.lanes:
            lane.warm_up()
        self.session = self.lanes[0].session
        self.block = Block.create([])
        self.batcher = Batcher(
            Runner(
                run=self._run_on_host,
                inline=lambda rows: rows < inline_below,
                batched=batched,
                watch=self._watch if watched else None,
                lanes=self.lanes,
                on_device=lambda rows: rows >= device_from,
            ),
            self,
            self.loop,
            BatchingConfig(max_batch_size=max_rows),
            self.block.open_model("m", 1),
        )

    @property
    def lent(self) -> int:
        """Batches whose buffers are out."""
        return sum(lane.lent for lane in self.lanes)

    def submit(self, rows: Array, *more: Array) -> Job:
        """Queue a request."""
        job = Job([rows, *more], len(rows), FakeCall(), time.perf_counter_ns())
        self.batcher.submit(job)
        return job

    def send(self, *counts: int) -> list[Job]:
        """Queue requests of so many random rows, let them be one batch, and wait for its run."""
        jobs = [self.submit(random(count, seed)) for seed, count in enumerate(counts)]
        self.loop.run_deferred()
        self.loop.run_posted()
        return jobs

    def settle(self) -> None:
        """Let everything happen that is due."""
        while self.loop.timers or self.loop.deferred or not self.batcher.idle:
            self.loop.run_timers()
            self.loop.run_deferred()
            if not self.batcher.idle and not (self.loop.timers or self.loop.deferred):
                self.loop.run_posted()

    def check(self, *jobs: Job) -> None:
        """See that each job has its own answer."""
        for job in jobs:
            (expected,) = self.session.run(job.inputs)
            np.testing.assert_allclose(self.answers[job], expected, rtol=1e-4, atol=1e-6)

    def close(self) -> None:
        """End the threads, and see that they leave nothing."""
        self.batcher.close()
        for lane in self.lanes:
            lane.close().result(PATIENCE_S)
        if not self.device.lost:
            assert self.device.leaks == []

    def respond(self, jobs: Sequence[Job], outputs: Sequence[Array]) -> None:
        if self.unwritable:
            raise OSError
        start = 0
        for job in jobs:
            self.answers[job] = outputs[0][start : start + job.rows].copy()
            start += job.rows

    def refuse(self, job: Job, error: RequestError) -> None:
        self.refusals[job] = error

    def answered(self, batch: Batch, encode_ns: int) -> None:
        pass

    def closed(self, batch: Batch) -> None:
        if self.unclosable:
            raise OSError
        self.closed_batches.append(batch)

    def lost(self, error: DeviceLostError) -> None:
        # Whoever waited for the batch has been told.
        assert self.refusals
        self.lost_with.append(error)

    def _run_on_host(self, arrays: Sequence[Array]) -> list[Array]:
        self.on_host.append((threading.current_thread().name, len(arrays[0])))
        return self.session.run(arrays)

    def _watch(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        self.watched.append((inputs[0].copy(), outputs[0].copy(), self.lent))


@pytest.fixture(name="serve")
def _serve() -> Iterator[Callable[..., Served]]:
    """What serves models, and closes them in the end."""
    served: list[Served] = []

    def serve(*arguments: Any, **changes: Any) -> Served:
        served.append(Served(*arguments, **changes))
        return served[-1]

    yield serve
    for one in served:
        one.close()


def random(count: int, seed: int = 0) -> np.ndarray:
    """Return rows of four numbers."""
    return np.random.default_rng(seed).standard_normal((count, 4)).astype(np.float32)


@pytest.mark.parametrize("kind", [Session, Recorded], ids=["eager", "graphs"])
def test_each_caller_gets_its_own_rows(serve: Callable[..., Served], kind: type[Session]):
    """Of a batch that was assembled in page-locked memory, copied, run and copied back."""
    served = serve(kind=kind)
    copied = served.device.copied_in_bytes

    jobs = served.send(1, 2, 5)
    served.settle()

    served.check(*jobs)
    assert served.device.copied_in_bytes - copied == 8 * 4 * 4
    assert served.lent == 0
    assert not served.on_host


def test_rows_say_where_a_batch_runs(serve: Callable[..., Served]):
    """Few at once, more on the CPU in a lane's thread, many on the device."""
    served = serve(inline_below=2, device_from=8)
    copied = served.device.copied_in_bytes

    at_once = served.submit(random(1))
    served.loop.run_deferred()
    assert served.on_host == [(threading.current_thread().name, 1)]
    (apart,) = served.send(7)
    assert served.on_host[1:] == [("lane-0", 7)]
    assert served.device.copied_in_bytes == copied
    (on_device,) = served.send(8)
    served.settle()

    assert len(served.on_host) == 2
    assert served.device.copied_in_bytes > copied
    served.check(at_once, apart, on_device)


def test_buffers_stay_until_the_last_caller_has_its_answer(serve: Callable[..., Served]):
    """A long batch is answered in parts, and in between the lane runs others."""
    served = serve(watched=True)

    jobs = served.send(*[2] * 20)
    assert len(served.answers) == 8
    assert served.lent == 1
    others = served.send(*[3] * 9)
    assert served.lent == 2
    served.settle()

    served.check(*jobs, *others)
    assert served.lent == 0
    assert [batch.rows for batch in served.closed_batches] == [27, 40]


def test_who_watches_sees_each_batch_before_its_buffers_are_somebody_elses(
    serve: Callable[..., Served],
):
    """Inputs and outputs, once a batch, after its answers."""
    served = serve(watched=True)

    jobs = served.send(*[1] * 20)
    assert served.watched == []
    served.settle()

    ((inputs, outputs, lent),) = served.watched
    np.testing.assert_array_equal(inputs, np.concatenate([job.inputs[0] for job in jobs]))
    np.testing.assert_array_equal(outputs, np.concatenate([served.answers[job] for job in jobs]))
    assert lent == 1
    assert served.lent == 0


def test_who_watches_sees_what_runs_at_once_too(serve: Callable[..., Served]):
    """On the loop's own thread, nothing is lent."""
    served = serve(watched=True, inline_below=2, device_from=2)
    job = served.submit(random(1))
    served.loop.run_deferred()

    ((inputs, outputs, lent),) = served.watched
    np.testing.assert_array_equal(inputs, job.inputs[0])
    np.testing.assert_array_equal(outputs, served.answers[job])
    assert lent == 0


def test_a_watcher_that_fails_keeps_no_buffers(serve: Callable[..., Served]):
    """Nor an answer that cannot be written."""
    served = serve(watched=True)
    served._watch = None  # type: ignore[method-assign, assignment]
    served.unwritable = True

    jobs = served.send(1, 1)
    served.settle()

    assert all(isinstance(served.refusals[job], ExecutionError) for job in jobs)
    assert served.lent == 0


def test_an_owner_that_fails_after_the_answers_keeps_no_buffers(serve: Callable[..., Served]):
    """Nor does the version stay for good, as if it had not answered."""
    served = serve()
    served.unclosable = True
    with pytest.raises(OSError, match=r"^$"):
        served.send(1)
    served.unclosable = False

    assert served.lent == 0
    assert served.batcher.idle


def test_only_the_culprit_fails(serve: Callable[..., Served]):
    """Each job of its batch runs alone, in buffers of its own."""
    served = serve(model=models.lookup())
    jobs = [served.submit(np.array([[index]], np.int64)) for index in (1, 99, 2, 0)]
    served.loop.run_deferred()
    served.loop.run_posted()
    served.settle()

    assert isinstance(served.refusals[jobs[1]], ExecutionError)
    served.check(jobs[0], jobs[2], jobs[3])
    assert served.lent == 0
    assert served.lost_with == []


def test_a_request_of_more_rows_than_a_batch_runs_in_slices(serve: Callable[..., Served]):
    """The next one too: what is lent for slices is given back."""
    served = serve(max_rows=16)

    (large,) = served.send(100)
    (again,) = served.send(37)
    served.settle()

    served.check(large, again)
    assert served.lent == 0


def test_requests_that_run_alone_run_as_they_are(serve: Callable[..., Served]):
    """However many rows they have."""
    served = serve(batched=False, max_rows=4)
    copied = served.device.copied_in_bytes

    (job,) = served.send(9)
    served.settle()

    served.check(job)
    assert served.device.copied_in_bytes == copied


def test_text_runs_on_a_lane_as_well(serve: Callable[..., Served]):
    """By ordinary runs."""
    served = serve(model=models.identity())

    job = served.submit(np.array([["a"], ["b"]], object))
    served.loop.run_deferred()
    served.loop.run_posted()
    served.settle()

    assert served.answers[job].tolist() == [["a"], ["b"]]
    assert not served.on_host


def test_a_batch_without_room_on_the_device_runs_request_by_request(
    serve: Callable[..., Served],
):
    """One that is too large alone has an error; the server lives on."""
    served = serve()
    buffers = served.lanes[0]._open.buffers
    assert buffers is not None
    run = buffers.run

    def crowded(rows: int) -> None:
        if rows > 4:
            msg = "Failed to allocate memory for requested buffer of size 5"
            raise RuntimeError(msg)
        run(rows)

    buffers.run = crowded  # type: ignore[method-assign]

    jobs = served.send(3, 5, 2)
    served.settle()
    (after,) = served.send(4)
    served.settle()

    assert "Failed to allocate" in str(served.refusals[jobs[1]])
    served.check(jobs[0], jobs[2], after)
    assert served.lent == 0


def test_when_the_device_is_lost_everybody_is_told_to_come_back(serve: Callable[..., Served]):
    """At once: alone, no job fares any better. Then the owner hears of it."""
    served = serve()
    runs: list[int] = []
    lane = served.lanes[0]
    bound = lane.bound

    def counting(rows: int) -> Any:
        runs.append(rows)
        return bound(rows)

    lane.bound = counting  # type: ignore[method-assign]
    served.device.lost = True

    jobs = served.send(1, 1, 1)
    served.settle()

    assert runs == [3]
    assert all(type(served.refusals[job]) is DeviceLostError for job in jobs)
    assert len(served.lost_with) == 1
    assert served.lent == 0


def test_two_lanes_take_two_batches_whatever_the_settings_say_of_the_cpu(
    serve: Callable[..., Served],
):
    """Any lane that is free takes the next."""
    meeting = threading.Barrier(2, timeout=PATIENCE_S)
    armed: list[bool] = []

    class Meeting(Session):
        def run_bound(self, *arguments: Any) -> None:
            if armed:
                meeting.wait()
            super().run_bound(*arguments)

    served = serve(2, kind=Meeting)
    armed.append(True)

    one = served.submit(random(3, 1))
    served.loop.run_deferred()
    two = served.submit(random(3, 2))
    served.loop.run_deferred()
    served.loop.run_posted()
    served.loop.run_posted()
    armed.clear()
    served.settle()

    served.check(one, two)


def test_an_idle_lane_rests(serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch):
    """Once; and wakes up for the next batch."""
    monkeypatch.setattr(executor, "_REST_AFTER_S", 0.02)
    rested = threading.Semaphore(0)

    class Resting(Session):
        def shrink(self, arrays: Sequence[Array]) -> None:
            super().shrink(arrays)
            rested.release()

    served = serve(kind=Resting)
    for _ in range(2):
        (job,) = served.send(5)
        served.settle()
        assert rested.acquire(timeout=PATIENCE_S)
        assert not rested.acquire(timeout=0.1)
        served.check(job)


def test_a_lane_whose_work_ends_too_early_says_so(
    serve: Callable[..., Served], caplog: pytest.LogCaptureFixture
):
    """Its callers wait in vain, which must not happen in silence; the end does not wait as well."""
    served = serve()

    def broken(*_: Any, **__: Any) -> list[Batch]:
        msg = "broken"
        raise RuntimeError(msg)

    served.batcher._execute = broken  # type: ignore[assignment]
    served.submit(random(1))
    served.loop.run_deferred()
    served.batcher.close()

    (record,) = caplog.records
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "broken"
