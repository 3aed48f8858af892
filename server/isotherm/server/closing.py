"""Closing: when a batch waits for company no longer, and how many rows it takes then."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from isotherm.server.config import BatchingConfig
from isotherm.server.execution import Job
from isotherm.server.layout import CloseReason
from isotherm.server.pace import Pace
from isotherm.server.waiting import ANSWER_S

# The loop's timers count milliseconds: below half of one, waiting would overshoot.
_SHORTEST_WAIT_S: Final = 0.0005


class Closing:
    """Decides about the next batch of one queue; without a delay, it is always closed now."""

    def __init__(self, config: BatchingConfig, pace: Pace, max_rows: int) -> None:
        """A batch takes up to `max_rows`, though any request that is first comes along whole."""
        self._config = config
        self._pace = pace
        self._max_rows = max_rows
        self.draining = False
        # Of the batch that was decided about last.
        self.limit_rows = max_rows
        self.reason = CloseReason.IDLE

    def wait_s(self, jobs: Iterable[Job], oldest_ns: int, rows: int) -> float:
        """Return how long to wait for company yet; at 0, `limit_rows` and `reason` hold."""
        self.limit_rows = self._max_rows
        self.reason = CloseReason.DRAIN if self.draining else CloseReason.IDLE
        delay_us = self._config.max_queue_delay_us
        if not delay_us or self.draining or rows >= self._max_rows:
            return 0.0
        fitting = [size for size in self._config.preferred_batch_sizes if size <= rows]
        if fitting:
            self.limit_rows = max(fitting)
            return 0.0
        self.reason = CloseReason.DELAY
        wait_s = delay_us / 1e6 - (time.perf_counter_ns() - oldest_ns) / 1e9
        slack_s = self._slack_s(jobs, rows)
        if slack_s < wait_s:
            self.reason = CloseReason.DEADLINE
            wait_s = slack_s
        return wait_s if wait_s > _SHORTEST_WAIT_S else 0.0

    def _slack_s(self, jobs: Iterable[Job], rows: int) -> float:
        """Return how long the most hurried caller can still wait."""
        deadlines = (job.caller.deadline for job in jobs)
        earliest = min((at for at in deadlines if at is not None), default=float("inf"))
        return earliest - time.time() - self._pace.seconds(rows) - ANSWER_S
