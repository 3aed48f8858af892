"""Many rows through `predict_stream`, in batches that are made as they are asked for."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# Batches begin at so many different rows, so that one in another's place is seen.
STARTS = 512


@dataclass(frozen=True, slots=True)
class Passed:
    """What a stream showed; `grown_mb` is how much the peak of its second half exceeds the first's.

    The process must have done little else: the kernel keeps the highest resident size of all time.
    """

    rows: int
    seconds: float
    grown_mb: float

    @property
    def per_second(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds


class Stream:
    """Batches of so many rows, at least so many rows in all, and what has come of them so far."""

    def __init__(self, features: int, rows: int, batch: int) -> None:
        self.base = source(features, batch)
        self._batch = batch
        self._batches = -(-rows // batch)
        self._edges: list[tuple[float, float]] = []
        self._peak_mb = 0.0
        self._begin = time.perf_counter()

    def batches(self) -> Iterator[np.ndarray]:
        """Make the batches."""
        for number in range(self._batches):
            start = number % STARTS
            yield self.base[start : start + self._batch]

    def take(self, result: np.ndarray) -> None:
        """Take a result, which must be the next."""
        if len(result) != self._batch:
            msg = f"a batch of {self._batch} rows was answered with {len(result)}"
            raise SystemExit(msg)
        self._edges.append((float(result[0, 0]), float(result[-1, 0])))
        if len(self._edges) == self._batches // 2:
            self._peak_mb = peak_mb()

    def passed(self, expected: np.ndarray) -> Passed:
        """Return what it took, once all results have come; `expected` is the answer to `base`."""
        seconds = time.perf_counter() - self._begin
        # The kernel counts pages by processor: what it says of a peak may fall by a few.
        grown_mb = max(0.0, peak_mb() - self._peak_mb)
        starts = np.arange(self._batches) % STARTS
        edges = np.stack([starts, starts + self._batch - 1], axis=1)
        # A row's last digits depend on the size of its batch.
        np.testing.assert_allclose(self._edges, expected[edges, 0], rtol=1e-4, atol=1e-5)
        return Passed(self._batches * self._batch, seconds, grown_mb)


def source(features: int, batch: int) -> np.ndarray:
    """Return the rows that all batches of a size are views of, within the contract's range."""
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (batch + STARTS, features)).astype(np.float32)


def blocking(client: Any, model: str, features: int, rows: int, batch: int) -> Passed:
    """Send the rows with `Client`."""
    expected = client.predict(model, source(features, batch))
    stream = Stream(features, rows, batch)
    for result in client.predict_stream(model, stream.batches()):
        stream.take(result)
    return stream.passed(expected)


async def awaiting(client: Any, model: str, features: int, rows: int, batch: int) -> Passed:
    """Send the rows with `AsyncClient`."""
    expected = await client.predict(model, source(features, batch))
    stream = Stream(features, rows, batch)
    results: AsyncIterator[np.ndarray] = client.predict_stream(model, stream.batches())
    async for result in results:
        stream.take(result)
    return stream.passed(expected)


def peak_mb() -> float:
    """Return the most that this process has ever held, in MB."""
    # Not getrusage: what it says of a new process begins with its parent's peak.
    match = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    if match is None:
        msg = "the kernel does not tell the process's peak (VmHWM)"
        raise SystemExit(msg)
    return int(match[1]) * 1024 / 1e6
