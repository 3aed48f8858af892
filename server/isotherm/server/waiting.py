"""Waiting: the requests that no run has taken yet, in the order in which they came."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from isotherm.server.config import BatchingConfig
from isotherm.server.errors import (
    AbandonedError,
    ExpiredError,
    HopelessError,
    OverloadedError,
    QueueTimeoutError,
    RequestError,
)
from isotherm.server.execution import Job
from isotherm.server.layout import CloseReason
from isotherm.server.pace import Pace

# Between the end of a run and an answer at its caller, who would otherwise give up just before it.
ANSWER_S: Final = 0.002


class Waiting:
    """A queue that is bounded in requests, rows and bytes, and gives out batches."""

    def __init__(
        self, config: BatchingConfig, pace: Pace, refuse: Callable[[Job, RequestError], None]
    ) -> None:
        """`refuse` is told of jobs that nobody waits for any more."""
        self._config = config
        self._pace = pace
        self._refuse = refuse
        self._jobs: deque[Job] = deque()
        self._bytes = 0
        self.rows = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs)

    @property
    def oldest_ns(self) -> int:
        """When the job that has waited longest has arrived, as perf_counter_ns()."""
        return self._jobs[0].arrived_ns

    def append(self, job: Job) -> None:
        """Take a job in."""
        self._jobs.append(job)
        self.rows += job.rows
        self._bytes += job.size_bytes

    def check_room(self, job: Job, retry_after_s: float) -> None:
        """Raise OverloadedError when a job is too much; an empty queue takes one of any size."""
        if not self._jobs:
            return
        config = self._config
        over_rows = self.rows + job.rows > config.max_queue_rows
        over_bytes = self._bytes + job.size_bytes > config.max_queue_bytes
        over_requests = 0 < config.max_queue_requests <= len(self._jobs)
        if over_rows or over_bytes or over_requests:
            msg = f"Exceeds maximum queue size: {self.rows} rows are waiting"
            raise OverloadedError(msg, retry_after_s=retry_after_s)

    def take(
        self, limit_rows: int, reason: CloseReason, *, in_time: bool
    ) -> tuple[list[Job], int, CloseReason]:
        """Return the jobs of the next batch, their rows, and why there are no more of them.

        All have one key, and together no more than `limit_rows`, though the first may alone. If
        `in_time`, a batch also takes no job for which one before it would be answered too late.
        Jobs that nobody waits for are dropped.
        """
        jobs: list[Job] = []
        rows = 0
        now_s = time.time()
        earliest_s = float("inf")
        while self._jobs:
            job = self._jobs[0]
            if not self._wanted(job, now_s, in_time=in_time):
                self._pop()
                continue
            if jobs and (rows + job.rows > limit_rows or job.key != jobs[0].key):
                return jobs, rows, CloseReason.FULL
            if in_time and job.caller.deadline is not None:
                earliest_s = min(earliest_s, job.caller.deadline)
            if jobs and in_time and now_s + self._takes_s(rows + job.rows) > earliest_s:
                return jobs, rows, CloseReason.DEADLINE
            jobs.append(self._pop())
            rows += job.rows
            if rows >= limit_rows:
                return jobs, rows, CloseReason.FULL
        return jobs, rows, reason

    def _takes_s(self, rows: int) -> float:
        return self._pace.surely_s(rows) + ANSWER_S

    def _pop(self) -> Job:
        job = self._jobs.popleft()
        self.rows -= job.rows
        self._bytes -= job.size_bytes
        return job

    def _wanted(self, job: Job, now_s: float, *, in_time: bool) -> bool:
        caller = job.caller
        error: RequestError | None = None
        if caller.cancelled:
            error = AbandonedError("the caller has gone")
        elif caller.deadline is not None and caller.deadline <= now_s:
            error = ExpiredError("the deadline passed in the queue")
        elif job.expires_s is not None and job.expires_s <= now_s:
            error = QueueTimeoutError("Request timeout expired")
        elif in_time and len(self._jobs) > 1 and caller.deadline is not None:
            # Nobody would have its answer, and others need the time.
            needs_s = self._pace.seconds(job.rows)
            if now_s + needs_s > caller.deadline:
                msg = "its deadline would pass in the model, and others are waiting"
                error = HopelessError(msg, retry_after_s=needs_s)
        if error is None:
            return True
        self._refuse(job, error)
        return False
