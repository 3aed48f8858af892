"""The proof that a device answers as an ordinary run does, by whatever shorter way it is asked.

The shorter ways go wrong silently: a graph replayed for other buffers than it was captured with, or
a copy that nobody waited for, leaves plausible numbers behind.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from isotherm.server.device.buckets import Choice, buckets
from isotherm.server.device.device import Array
from isotherm.server.device.instance import Instance, Way
from isotherm.server.device.leases import Leases
from isotherm.server.errors import DeviceLostError
from isotherm.server.session import reason

# Of all values, how many may differ: rounding moves some to the other side of a threshold.
_MAX_SHARE: Final = 0.01
# Of the answers' range, and of their size: far above rounding, far below another row's answer.
_OF_RANGE: Final = 0.01
_OF_SIZE: Final = 1e-5
# Runs by which a size is timed, unless they take so long together.
_RUNS: Final = 5
_LONG_S: Final = 0.1
# Buckets in a row whose graphs save nothing, after which those of larger ones will not either.
_ENOUGH: Final = 2


class ProofError(Exception):
    """A way to run was tried, and does not do."""


def prove(instance: Instance, leases: Leases, max_rows: int) -> Choice:
    """Run batches of all sizes in every way that the instance has; return which to run in which.

    Raises ProofError, or what a run raises, when one of them does not do.
    """
    # One row more, so that from the second on all rows are others.
    sample = _sample(instance, max_rows + 1)
    trials: dict[int, tuple[_Trial, _Trial]] = {}
    eager_s: dict[int, float] = {}
    graph_s: dict[int, float] = {}
    useless = 0 if instance.way is Way.GRAPHS else _ENOUGH
    for bucket in buckets(max_rows):
        # The other has as few rows as are ever filled up to the bucket.
        trials[bucket] = (
            _Trial(instance, leases, [array[:bucket] for array in sample]),
            _Trial(instance, leases, [array[1 : 2 + bucket // 2] for array in sample]),
        )
        for trial in trials[bucket]:
            trial.check(0)
        eager_s[bucket] = _seconds(partial(instance.rehearse, bucket, replay=False))
        if useless < _ENOUGH:
            for trial in trials[bucket]:
                trial.check(bucket)
            graph_s[bucket] = _seconds(partial(instance.rehearse, bucket, replay=True))
            useless = 0 if graph_s[bucket] < eager_s[bucket] else useless + 1
    _check_again(trials, graph_s)
    return Choice(eager_s, graph_s)


def _check_again(trials: Mapping[int, Sequence[_Trial]], captured: Iterable[int]) -> None:
    """Try all graphs after runs of other sizes: none may replay on memory that these write to.

    Operators that copy a list of pointers or sizes to the device (Concat and Split of many parts)
    hand the memory that it was copied from to the next run.
    """
    smallest, largest = min(trials), max(trials)
    for bucket in captured:
        other, _ = trials[largest if bucket < largest else smallest]
        for trial in trials[bucket]:
            other.check(0)
            trial.check(bucket)


class _Trial:
    """Rows, and what an ordinary run answers them."""

    def __init__(self, instance: Instance, leases: Leases, inputs: Sequence[Array]) -> None:
        self._instance = instance
        self._leases = leases
        self._inputs = inputs
        self._expected = instance.run([np.ascontiguousarray(array) for array in inputs])

    def check(self, bucket: int) -> None:
        """Raise ProofError where the bucket's graph answers otherwise; at 0, an eager run."""
        buffers = self._instance.buffers
        assert buffers is not None  # noqa: S101  they are what is proved
        rows = len(self._inputs[0])
        lease = self._leases.lend(buffers.lent_bytes(rows))
        try:
            inputs, outputs = buffers.views(lease.memory, rows)
            for lent, array in zip(inputs, self._inputs, strict=True):
                lent[...] = array
            for output in outputs:
                # Answers that never come must not look like those of the run before.
                output.fill(0)
            if bucket:
                self._instance.capture(inputs, outputs, bucket)
            else:
                self._instance.run_bound(inputs, outputs)
            compare(outputs, self._expected)
        finally:
            lease.release()


def _sample(instance: Instance, rows: int) -> list[Array]:
    """Return so many different rows of each input; raise ProofError if the model takes none."""
    generator = np.random.default_rng(0)
    inputs = instance.session.rows()[0].values()
    arrays = [_random(generator, (rows, *row.shape), row.dtype) for row in inputs]
    try:
        instance.run([array[:1] for array in arrays])
    except DeviceLostError:
        raise
    except Exception as error:
        msg = f"the model fails on random rows ({reason(error)})"
        raise ProofError(msg) from error
    return arrays


def compare(found: Sequence[Array], expected: Sequence[Array]) -> None:
    """Raise ProofError where answers are not the expected ones, apart from rounding."""
    for one, other in zip(found, expected, strict=True):
        wrong = _wrong(one, other)
        if wrong.mean() > _MAX_SHARE:
            first = tuple(np.argwhere(wrong)[0])
            msg = (
                f"{wrong.mean():.0%} of the values in {len(wrong)} rows are not those of an "
                f"ordinary run, in row {first[0]} {one[first]} instead of {other[first]}"
            )
            raise ProofError(msg)


def _seconds(run: Callable[[], float]) -> float:
    """Return what a run takes, undisturbed; each says what it took."""
    best_s, begun_s = float("inf"), time.perf_counter()
    for _ in range(_RUNS):
        best_s = min(best_s, run())
        if time.perf_counter() - begun_s > _LONG_S:
            break
    return best_s


def _random(generator: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    if dtype.kind == "f":
        # Of all sizes: what a model was trained on is not known, and far from it answers stop to
        # differ.
        sizes = 10.0 ** generator.uniform(-1.0, 3.0, (shape[0], *[1] * (len(shape) - 1)))
        return (generator.standard_normal(shape, np.float32) * sizes).astype(dtype)
    # Numbers that may count something, or name a row of a small table.
    return generator.integers(0, 2, shape).astype(dtype)


def _wrong(found: Array, expected: Array) -> Array:
    if expected.dtype.kind != "f":
        return np.asarray(found != expected)
    wide = np.asarray(expected, np.float64)
    finite = np.where(np.isfinite(wide), wide, 0.0)
    tolerance = _OF_RANGE * np.ptp(finite, axis=0) + _OF_SIZE * np.abs(finite).max(axis=0)
    return ~np.isclose(found, wide, rtol=0.0, atol=tolerance, equal_nan=True)
