"""Executor: the threads that run the batches of one model which are too long for the loop's."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from functools import partial
from typing import Final, Protocol

from isotherm.server.execution import Batch, Lane

_log = logging.getLogger(__name__)

# After so long without a batch, a lane gives back memory that it may not need.
_REST_AFTER_S: Final = 5.0


class Execute(Protocol):
    """Runs a batch, on the thread of that lane, if any; returns it, or its jobs as batches."""

    def __call__(self, batch: Batch, *, lane: Lane | None = None) -> list[Batch]:
        """See `Execution`."""
        ...


class Executor:
    """Threads that run batches, each one at a time, and do as little else as possible."""

    def __init__(
        self,
        execute: Execute,
        done: Callable[[list[Batch]], None],
        instances: int = 1,
        lanes: Sequence[Lane] = (),
    ) -> None:
        """Take the threads of the `lanes`, or else `instances` new ones."""
        self._execute = execute
        self._done = done
        self._batches: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._ends: list[Callable[[], object]] = []
        for lane in lanes:
            working = lane.do(partial(self._work_on, lane))
            self._ends.append(partial(wait, [working]))
        for number in range(0 if lanes else instances):
            thread = threading.Thread(target=self._work, name=f"executor-{number}", daemon=True)
            thread.start()
            self._ends.append(thread.join)

    def submit(self, batch: Batch) -> None:
        """Run a batch as soon as a thread is free, after those submitted before."""
        self._batches.put(batch)

    def close(self) -> None:
        """End the threads' work after what was submitted."""
        for _ in self._ends:
            self._batches.put(None)
        for end in self._ends:
            end()

    def _work(self) -> None:
        while (batch := self._batches.get()) is not None:
            self._done(self._execute(batch))

    def _work_on(self, lane: Lane) -> None:
        try:
            while (batch := self._next(lane)) is not None:
                self._done(self._execute(batch, lane=lane))
        except BaseException:
            # Of a thread of its own, Python would tell.
            _log.critical("this is a bug: a lane works no more", exc_info=True)
            raise

    def _next(self, lane: Lane) -> Batch | None:
        try:
            return self._batches.get(timeout=_REST_AFTER_S)
        except queue.Empty:
            lane.rest()
            return self._batches.get()
