"""One batch through the model: assembled, sliced where it is too large, its culprit isolated."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from isotherm.server.errors import DeviceLostError, ExecutionError, RequestError
from isotherm.server.layout import CloseReason

_log = logging.getLogger(__name__)

Array = NDArray[Any]
_Result = TypeVar("_Result")


class Caller(Protocol):
    """Who waits for a job: gone, or waiting until a deadline (as time.time())."""

    deadline: float | None

    @property
    def cancelled(self) -> bool:
        """Whether it has gone."""
        ...


@dataclass(eq=False, slots=True)
class Job:
    """One request: an array an input, each with `rows` rows, and who waits for the answer."""

    inputs: Sequence[Array]
    rows: int
    caller: Caller
    arrived_ns: int
    # Only jobs of equal keys share a batch: the shapes without their rows, where those may differ.
    key: object = None
    # What the answer must repeat; batching only carries it.
    context: Any = None
    # When it has waited enough, as time.time(); None: only its caller's deadline counts.
    expires_s: float | None = None
    # Memory that the job holds while it waits. Arrays of text do not know theirs.
    size_bytes: int = 0


@dataclass(eq=False, slots=True)
class Batch:
    """Jobs that run together, and what became of them."""

    jobs: list[Job]
    rows: int
    started_ns: int
    outputs: Sequence[Array] = ()
    error: RequestError | None = None
    # What ran; kept only where the runner has a `watch`.
    inputs: Sequence[Array] = ()
    assemble_ns: int = 0
    run_ns: int = 0
    # Why no more jobs are in it.
    reason: CloseReason = CloseReason.IDLE
    # To be called once nobody looks at `inputs` and `outputs` any more.
    release: Callable[[], None] | None = None

    def parts(self, size: int) -> list[Batch]:
        """Return the batch, which has run, in parts of at most so many jobs, each with its outputs.

        Their `rows` are still those that ran together.
        """
        if len(self.jobs) <= size:
            return [self]
        parts, row = [], 0
        for start in range(0, len(self.jobs), size):
            jobs = self.jobs[start : start + size]
            rows = sum(job.rows for job in jobs)
            outputs = [output[row : row + rows] for output in self.outputs]
            parts.append(replace(self, jobs=jobs, outputs=outputs))
            row += rows
        return parts


class BoundRun(Protocol):
    """Buffers for a batch of one size; the outputs hold until the next run."""

    @property
    def inputs(self) -> Sequence[Array]:
        """Where the rows go."""
        ...

    @property
    def outputs(self) -> Sequence[Array]:
        """Where the answer is."""
        ...

    def run(self) -> None:
        """Run the model on the inputs."""


class LentRun(BoundRun, Protocol):
    """Buffers for one batch alone."""

    def release(self) -> None:
        """Give the buffers back; from any thread, once or more."""


class Lane(Protocol):
    """An instance of the model on a device. All but `do` happens on its own thread."""

    def do(self, work: Callable[[], _Result]) -> Future[_Result]:
        """Do something on the lane's thread, after what it does now."""
        ...

    def bound(self, rows: int) -> LentRun | None:
        """Return buffers for so many rows; None where `run_here` must be used."""
        ...

    def run_here(self, arrays: Sequence[Array]) -> list[Array]:
        """Run the model, however many rows there are."""
        ...

    def rest(self) -> None:
        """Give back memory that the next runs may not need."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Runner:
    """The model as batching sees it."""

    run: Callable[[Sequence[Array]], list[Array]]
    # Tells whether a batch of so many rows is short enough for the loop's own thread.
    inline: Callable[[int], bool]
    # False: every job runs alone, as it is.
    batched: bool = True
    # The seconds of a run of so many rows, as measured at load; None where nobody knows.
    seconds: Callable[[int], float] | None = None
    # Buffers for a batch of so many rows, for the loop's own thread; None where there are none.
    bound: Callable[[int], BoundRun | None] | None = None
    # Looks at the inputs and outputs of every batch that has run, on the loop's own thread.
    watch: Callable[[Sequence[Array], Sequence[Array]], None] | None = None
    # Instances on a device, whose threads then run all that is not inline.
    lanes: Sequence[Lane] = ()
    # Tells whether a batch of so many rows runs there, and not by `run`; where there are lanes.
    on_device: Callable[[int], bool] = lambda _rows: True


class Execution:
    """Runs batches of one model, on whichever thread it is called."""

    def __init__(self, runner: Runner, max_batch_size: int) -> None:
        self._runner = runner
        self._max_batch_size = max_batch_size

    def __call__(
        self, batch: Batch, *, inline: bool = False, lane: Lane | None = None
    ) -> list[Batch]:
        """Run a batch; when it fails, run its jobs one by one, so that only the culprit fails.

        The outputs of a batch that runs `inline` must be used before the next one does. On a
        `lane`'s thread, what belongs on the device runs there.
        """
        try:
            if lane is not None and self._runner.on_device(batch.rows):
                self._run_on(lane, batch)
            else:
                self._run(batch, inline=inline)
        except DeviceLostError as error:
            # Alone, no job fares any better.
            batch.error = error
        except Exception as error:  # noqa: BLE001  a broken batch must not end the loop
            if len(batch.jobs) > 1:
                alone = [replace(batch, jobs=[job], rows=job.rows) for job in batch.jobs]
                return [result for one in alone for result in self(one, lane=lane)]
            _log.warning("a request failed in the model: %s", error)
            batch.error = ExecutionError(f"the model failed on this request: {error}")
        return [batch]

    def _run(self, batch: Batch, *, inline: bool) -> None:
        bound = self._runner.bound(batch.rows) if inline and self._runner.bound else None
        if bound is not None:
            _fill(bound.inputs, batch.jobs)
            ready_ns = time.perf_counter_ns()
            bound.run()
            batch.inputs, batch.outputs = bound.inputs, bound.outputs
            batch.assemble_ns = ready_ns - batch.started_ns
            batch.run_ns = time.perf_counter_ns() - ready_ns
            return
        assembled = _assemble(batch.jobs)
        ready_ns = time.perf_counter_ns()
        limit = self._max_batch_size
        if self._runner.batched and batch.rows > limit:
            outputs = _run_in_slices(self._runner.run, assembled, batch.rows, limit)
        else:
            outputs = self._runner.run(assembled)
        if self._runner.batched:
            _check_rows(outputs, batch.rows)
        batch.outputs = outputs
        if self._runner.watch is not None:
            batch.inputs = assembled
        batch.assemble_ns = ready_ns - batch.started_ns
        batch.run_ns = time.perf_counter_ns() - ready_ns

    def _run_on(self, lane: Lane, batch: Batch) -> None:
        bound = lane.bound(batch.rows) if self._runner.batched else None
        if bound is not None:
            self._run_bound(bound, batch)
            return
        assembled = _assemble(batch.jobs)
        ready_ns = time.perf_counter_ns()
        batch.outputs = lane.run_here(assembled)
        if self._runner.batched:
            _check_rows(batch.outputs, batch.rows)
        if self._runner.watch is not None:
            batch.inputs = assembled
        batch.assemble_ns = ready_ns - batch.started_ns
        batch.run_ns = time.perf_counter_ns() - ready_ns

    def _run_bound(self, bound: LentRun, batch: Batch) -> None:
        try:
            _fill(bound.inputs, batch.jobs)
            ready_ns = time.perf_counter_ns()
            bound.run()
        except BaseException:
            bound.release()
            raise
        batch.inputs, batch.outputs, batch.release = bound.inputs, bound.outputs, bound.release
        batch.assemble_ns = ready_ns - batch.started_ns
        batch.run_ns = time.perf_counter_ns() - ready_ns

    def runs(self, rows: int) -> list[int]:
        """Return the sizes in which so many rows were run."""
        limit = self._max_batch_size
        if not self._runner.batched or rows <= limit:
            return [rows]
        return [min(limit, rows - start) for start in range(0, rows, limit)]


def _assemble(jobs: Sequence[Job]) -> Sequence[Array]:
    if len(jobs) == 1:
        # Where a tensor lies in its message is no machine's alignment.
        return [array if array.flags.aligned else array.copy() for array in jobs[0].inputs]
    return [np.concatenate(arrays) for arrays in zip(*(job.inputs for job in jobs), strict=True)]


def _fill(buffers: Sequence[Array], jobs: Sequence[Job]) -> None:
    for index, buffer in enumerate(buffers):
        if len(jobs) == 1:
            buffer[...] = jobs[0].inputs[index]
        else:
            np.concatenate([job.inputs[index] for job in jobs], out=buffer)


def _check_rows(outputs: Sequence[Array], rows: int) -> None:
    # A free first dimension need not be the batch's: handing rows out would then mix callers up.
    for output in outputs:
        if len(output) != rows:
            msg = f"it gave {len(output)} rows for {rows}"
            raise ValueError(msg)


def _run_in_slices(
    run: Callable[[Sequence[Array]], list[Array]],
    inputs: Sequence[Array],
    rows: int,
    limit: int,
) -> list[Array]:
    parts = [
        run([array[start : start + limit] for array in inputs]) for start in range(0, rows, limit)
    ]
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
