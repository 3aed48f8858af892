"""Counters summed over workers: what the metrics and ModelStatistics show."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from isotherm.server import exemplars, layout
from isotherm.server.counters import Block
from isotherm.server.layout import CloseReason, ModelState, Phase, Rejection
from isotherm.server.model_counters import ModelCounters, Words
from isotherm.server.residuals import Residuals, ResidualTotals

# CANCELLED, DEADLINE_EXCEEDED, INTERNAL: the request was accepted, and yet not answered.
FAILURE_CODES: Final = (1, 4, 13)


class Latency:
    """A latency histogram: counts by bucket, the last without an upper edge, and their sum."""

    def __init__(self, words: Words) -> None:
        self.buckets: list[int] = words[: layout.LATENCY_BUCKETS].tolist()
        self.sum_ns = int(words[layout.LATENCY_BUCKETS])

    @property
    def count(self) -> int:
        """How many values were observed."""
        return sum(self.buckets)


class ModelTotals:
    """One model version's counters, summed over all workers."""

    def __init__(self, name: str, version: int) -> None:
        self.name = name
        self.version = version
        self.provider = ""
        self.sha256 = ""
        self.load_ns = 0
        self.states: list[ModelState] = []
        # Whether a worker is not ready because of it.
        self.hinders = False
        self.last_inference_ms = 0
        # At the worker where they are most.
        self.break_even_rows = 0
        self.graph_sizes = 0
        self.fell_back = False
        # At the worker where they are longest.
        self.queue_oldest_age_s = 0.0
        self.expected_wait_s = 0.0
        self.residuals = ResidualTotals()
        # Of the buckets of `duration`.
        self.exemplars: exemplars.Exemplars = [None] * layout.LATENCY_BUCKETS
        self._sum: Words = np.zeros(layout.MODEL_WORDS, np.int64)

    def add(self, live: ModelCounters, words: Words) -> None:
        """Add one worker's counters: `words` are a snapshot of them."""
        model = ModelCounters(words)
        self._sum += words
        self.residuals.add(Residuals(words))
        self.exemplars = exemplars.latest(self.exemplars, exemplars.read(live.words))
        self.states.append(model.state)
        self.hinders = self.hinders or model.hinders
        self.provider = model.provider or self.provider
        self.sha256 = model.sha256 or self.sha256
        self.load_ns = max(self.load_ns, int(words[layout.LOAD_NS]))
        self.break_even_rows = max(self.break_even_rows, int(words[layout.BREAK_EVEN_ROWS]))
        self.graph_sizes = max(self.graph_sizes, int(words[layout.GRAPH_SIZES]))
        self.fell_back = self.fell_back or bool(words[layout.FELL_BACK])
        self.last_inference_ms = max(self.last_inference_ms, int(words[layout.LAST_INFERENCE_MS]))
        oldest_ns = int(words[layout.QUEUE_OLDEST_NS])
        if oldest_ns:
            age_s = (time.perf_counter_ns() - oldest_ns) / 1e9
            self.queue_oldest_age_s = max(self.queue_oldest_age_s, age_s)
        self.expected_wait_s = max(self.expected_wait_s, int(words[layout.QUEUE_WAIT_NS]) / 1e9)

    @property
    def state(self) -> ModelState:
        """READY where every worker that knows the version is, else the state of one that is not.

        UNKNOWN where none knows it: it was served before, by workers that have died since.
        """
        known = [state for state in self.states if state is not ModelState.UNKNOWN]
        if not known:
            return ModelState.UNKNOWN
        return next((s for s in known if s is not ModelState.READY), ModelState.READY)

    @property
    def requests(self) -> list[int]:
        """Ended requests by status code."""
        return self._list(layout.REQUESTS, layout.CODES)

    @property
    def answered(self) -> int:
        """Requests answered with OK."""
        return self.requests[0]

    @property
    def rejected(self) -> list[int]:
        """Requests that were not run, by Rejection."""
        return self._list(layout.REJECTED, len(Rejection))

    @property
    def batches(self) -> list[int]:
        """Batches by CloseReason."""
        return self._list(layout.BATCHES, len(CloseReason))

    @property
    def batch_histogram(self) -> list[int]:
        """Executions by size, in buckets of layout.BATCH_EDGES."""
        return self._list(layout.BATCH_HISTOGRAM, layout.BATCH_BUCKETS)

    @property
    def rows(self) -> int:
        """Rows that the model has run."""
        return int(self._sum[layout.ROWS])

    @property
    def executions(self) -> int:
        """Calls of the runtime."""
        return sum(self.batch_histogram)

    @property
    def queue_requests(self) -> int:
        """Requests that wait now."""
        return int(self._sum[layout.QUEUE_REQUESTS])

    @property
    def queue_rows(self) -> int:
        """Rows that wait now."""
        return int(self._sum[layout.QUEUE_ROWS])

    @property
    def queue_limit_rows(self) -> int:
        """Rows that may wait."""
        return int(self._sum[layout.QUEUE_LIMIT_ROWS])

    @property
    def device_bytes(self) -> int:
        """What it takes of the devices' memory."""
        return int(self._sum[layout.DEVICE_BYTES])

    @property
    def buffers_lent(self) -> int:
        """Batches whose page-locked buffers are not given back yet."""
        return int(self._sum[layout.BUFFERS_LENT])

    @property
    def loads(self) -> tuple[int, int]:
        """Loads that worked, and loads that did not, each worker's own."""
        return int(self._sum[layout.LOADS]), int(self._sum[layout.LOADS + 1])

    @property
    def failed(self) -> int:
        """Requests that failed in the model or were dropped from the queue."""
        requests = self.requests
        return sum(requests[code] for code in FAILURE_CODES)

    @property
    def fail_ns(self) -> int:
        """Time spent on requests that failed."""
        return int(self._sum[layout.FAIL_NS])

    @property
    def duration(self) -> Latency:
        """Time in the server of requests answered with OK."""
        return Latency(self._sum[layout.DURATION : layout.DURATION + layout.LATENCY_BUCKETS + 1])

    def phase(self, phase: Phase) -> Latency:
        """Return the time that requests answered with OK spent in one phase."""
        start = layout.phase_offset(phase)
        return Latency(self._sum[start : start + layout.LATENCY_BUCKETS + 1])

    def exact_batches(self) -> Iterator[tuple[int, list[int]]]:
        """Yield (batch size, [executions, assemble ns, run ns, encode ns]) of sizes that ran."""
        table = self._sum[
            layout.EXACT_BATCHES : layout.EXACT_BATCHES + 4 * layout.MAX_EXACT_BATCH_SIZE
        ].reshape(-1, 4)
        for row in np.flatnonzero(table[:, 0]).tolist():
            yield row + 1, table[row].tolist()

    def _list(self, start: int, words: int) -> list[int]:
        values: list[int] = self._sum[start : start + words].tolist()
        return values


def total(blocks: Sequence[Block]) -> list[ModelTotals]:
    """Sum the blocks, one entry a model version, in the order they were first opened.

    A version that every worker has unloaded is left out, all at once: sums never become less. What
    a dead worker has counted stays in them until the worker serves again, and then as long as
    another one serves the version.
    """
    totals: dict[tuple[str, int], ModelTotals] = {}
    kept: set[tuple[str, int]] = set()
    for block in blocks:
        serving = block.serving
        for model in block.models():
            words = model.snapshot()
            if words is None:
                continue
            found = ModelCounters(words)
            key = found.name, found.version
            totals.setdefault(key, ModelTotals(*key)).add(model, words)
            if not serving or found.state is not ModelState.UNKNOWN:
                kept.add(key)
    return [model for key, model in totals.items() if key in kept]
