"""The crew: worker processes, of which any may be killed without a trial being lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import connection, forkserver, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Final

from isotherm.trainer.config import TrainConfig
from isotherm.trainer.data import Table
from isotherm.trainer.tune import signals
from isotherm.trainer.tune.trial import Outcome, State

# A trial whose process dies so often is at fault itself: it takes all memory, or crashes.
_ATTEMPTS: Final = 3
_STOP_S: Final = 5.0

_WORKER: Final = "isotherm.trainer.tune.worker"


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A trial asks whether to go on; `Crew.answer` it."""

    index: int
    step: int
    loss: float


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """A trial has ended."""

    index: int
    outcome: Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Restart:
    """The process of a trial died; the trial begins again, with the same parameters."""

    index: int


Event = Report | End | Restart


@dataclass(kw_only=True, slots=True)
class _Worker:
    process: BaseProcess
    channel: Connection
    index: int = -1
    config: TrainConfig | None = None
    attempts: int = 0


class Crew:
    """Up to `jobs` processes, each with one trial at a time; leave it to end them all.

    They are forked from a process that has imported torch and never used it: they start in no time,
    and may use CUDA.
    """

    def __init__(self, table: Table, jobs: int) -> None:
        self._table, self._jobs = table, jobs
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload([_WORKER])
        # It imports torch while this process does.
        forkserver.ensure_running()
        # Nobody else holds the second end: it is closed when this process ends, however it ends.
        self._alive, self._lifeline = self._context.Pipe(duplex=False)
        self._threads = max(1, len(os.sched_getaffinity(0)) // jobs)
        self._workers: list[_Worker] = []

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join(_STOP_S)
            worker.channel.close()
        self._lifeline.close()
        self._alive.close()

    @property
    def idle(self) -> int:
        """How many more trials could run now."""
        return self._jobs - self.busy

    @property
    def busy(self) -> int:
        """How many trials run."""
        return sum(worker.index >= 0 for worker in self._workers)

    @property
    def processes(self) -> list[int]:
        """The process ids of the workers."""
        return [worker.process.pid or 0 for worker in self._workers]

    def start(self, index: int, config: TrainConfig) -> None:
        """Run a trial on a worker that has none."""
        idle = (worker for worker in self._workers if worker.index < 0)
        worker = next(idle, None) or self._hired()
        worker.index, worker.config, worker.attempts = index, config, 0
        self._give(worker)

    def events(self) -> Iterator[Event]:
        """Wait until something happens; yield what did.

        Raises:
            TrainerError: a trial failed in a way that each of them would.
            Interrupted: a signal has come, where signals are taken.
        """
        busy = [worker for worker in self._workers if worker.index >= 0]
        with signals.waiting():
            ready = connection.wait([worker.channel for worker in busy])
        for worker in busy:
            if worker.channel in ready:
                yield self._heard(worker)

    def answer(self, index: int, *, goes_on: bool) -> None:
        """Answer a report."""
        worker = next(worker for worker in self._workers if worker.index == index)
        try:
            worker.channel.send(goes_on)
        except OSError:
            # Its channel is at its end, which `events` will find.
            return

    def _heard(self, worker: _Worker) -> Event:
        index = worker.index
        try:
            message = worker.channel.recv()
        except (EOFError, OSError):
            return self._died(worker)
        if isinstance(message, Exception):
            raise message
        if isinstance(message, Outcome):
            worker.index, worker.config = -1, None
            return End(index=index, outcome=message)
        step, loss = message
        return Report(index=index, step=step, loss=loss)

    def _died(self, worker: _Worker) -> Event:
        worker.process.join(_STOP_S)
        status = worker.process.exitcode
        worker.channel.close()
        self._workers.remove(worker)
        if worker.attempts >= _ATTEMPTS:
            reason = f"its process died {_ATTEMPTS} times, the last time with status {status}"
            outcome = Outcome(state=State.FAILED, reason=reason)
            return End(index=worker.index, outcome=outcome)
        successor = self._hired()
        successor.index, successor.config = worker.index, worker.config
        successor.attempts = worker.attempts
        self._give(successor)
        return Restart(index=worker.index)

    def _give(self, worker: _Worker) -> None:
        worker.attempts += 1
        try:
            worker.channel.send(worker.config)
        except OSError:
            # It died while it had nothing to do, or at once; `events` will find that.
            return

    def _hired(self) -> _Worker:
        # Late, since it takes seconds: by now the process that is forked from does the same.
        from isotherm.trainer.tune import worker

        ours, theirs = self._context.Pipe()
        arguments = (theirs, self._alive, self._table, self._threads)
        process = self._context.Process(target=worker.work, args=arguments, daemon=True)
        process.start()
        # With our copy of its end open, we would never hear that it is gone.
        theirs.close()
        hired = _Worker(process=process, channel=ours)
        self._workers.append(hired)
        return hired
