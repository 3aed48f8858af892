"""The counters of one model version in one worker: a slot of its block, written and read."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from isotherm.server import layout
from isotherm.server.layout import CloseReason, ModelState, Phase, Rejection

Words = NDArray[np.int64]

# Where histograms lie: to look an enumeration's member up costs as much as to count.
_QUEUE, _ASSEMBLE, _RUN, _ENCODE = (layout.phase_offset(phase) for phase in Phase)
_DURATION: Final = layout.DURATION
_SUM: Final = layout.LATENCY_BUCKETS
_EDGES: Final = layout.LATENCY_EDGES_NS


class ModelCounters:
    """The counters of one model version in one worker."""

    def __init__(self, words: Words) -> None:
        self.words = words
        # An item of a memoryview costs a third of an array's.
        self._fast = memoryview(words.data).cast("B").cast("q")

    @property
    def ordinal(self) -> int:
        """When the slot was given to its model version, counting; 0 while it has none."""
        return int(self.words[layout.USED])

    @property
    def name(self) -> str:
        """The model's name."""
        return self._text(layout.NAME, 32)

    @property
    def version(self) -> int:
        """The model's version."""
        return int(self.words[layout.VERSION])

    @property
    def state(self) -> ModelState:
        """The version's state in this worker."""
        return ModelState(int(self.words[layout.MODEL_STATE]))

    @state.setter
    def state(self, state: ModelState) -> None:
        self.words[layout.MODEL_STATE] = state

    @property
    def optional(self) -> bool:
        """Whether the server is ready without the version, as far as this worker is concerned."""
        return bool(self.words[layout.OPTIONAL])

    @optional.setter
    def optional(self, optional: bool) -> None:
        self.words[layout.OPTIONAL] = optional

    @property
    def hinders(self) -> bool:
        """Whether the server is not ready because of it."""
        return not self.optional and self.state in {ModelState.LOADING, ModelState.UNAVAILABLE}

    @property
    def provider(self) -> str:
        """The execution provider the version runs on; empty before it is loaded."""
        return self._text(layout.PROVIDER, 8)

    @property
    def sha256(self) -> str:
        """The first 12 hexadecimal digits of the file's SHA-256."""
        return self._text(layout.SHA256, 8)

    def take(self, name: str, version: int, ordinal: int, *, optional: bool = False) -> None:
        """Make the slot a model version's own; `ordinal` is another one each time, and positive."""
        self._set_text(layout.NAME, 32, name)
        self.words[layout.VERSION] = version
        self.optional = optional
        self.state = ModelState.LOADING
        self.words[layout.USED] = ordinal

    def release(self) -> None:
        """Give the slot back: what was counted in it is gone."""
        # First, so that who reads meanwhile sees that the numbers are nobody's.
        self.words[layout.USED] = 0
        self.words[:] = 0

    def snapshot(self) -> Words | None:
        """Return a copy of all words, of one version; None if the slot has none."""
        while ordinal := self.ordinal:
            words = self.words.copy()
            # Another version may have got the slot meanwhile, by another process.
            if ordinal == self.ordinal == words[layout.USED]:
                return words
        return None

    def loaded(self, *, provider: str, sha256: str, load_ns: int, queue_limit_rows: int) -> None:
        """Note what was loaded, and how long it took."""
        self._set_text(layout.PROVIDER, 8, provider)
        self._set_text(layout.SHA256, 8, sha256[:12])
        self.words[layout.LOAD_NS] = load_ns
        self.words[layout.QUEUE_LIMIT_ROWS] = queue_limit_rows
        self.state = ModelState.READY

    def placed(
        self, *, break_even_rows: int, device_bytes: int, graph_sizes: int, fell_back: bool
    ) -> None:
        """Note where it runs, and what it takes there."""
        self.words[layout.BREAK_EVEN_ROWS] = break_even_rows
        self.words[layout.DEVICE_BYTES] = device_bytes
        self.words[layout.GRAPH_SIZES] = graph_sizes
        self.words[layout.FELL_BACK] = fell_back

    def lent(self, buffers: int) -> None:
        """Say how many batches' page-locked buffers are not given back yet."""
        self._fast[layout.BUFFERS_LENT] = buffers

    def load_ended(self, *, failed: bool) -> None:
        """Count a load by its result."""
        self.words[layout.LOADS + failed] += 1

    def reset_gauges(self) -> None:
        """Forget what only the previous process, or the version while it was loaded, knew."""
        self.words[list(layout.MODEL_GAUGES)] = 0
        self.words[layout.UNKNOWN_SINCE_NS] = time.monotonic_ns()
        self.state = ModelState.UNKNOWN

    @property
    def unknown_s(self) -> float:
        """How long nobody has known the version here, in seconds; 0 while it is known."""
        if self.state is not ModelState.UNKNOWN:
            return 0.0
        return (time.monotonic_ns() - int(self.words[layout.UNKNOWN_SINCE_NS])) / 1e9

    def queue(self, requests: int, rows: int) -> None:
        """Set the queue's gauges."""
        self._fast[layout.QUEUE_REQUESTS] = requests
        self._fast[layout.QUEUE_ROWS] = rows
        if not requests:
            self._fast[layout.QUEUE_OLDEST_NS] = 0

    def waited(self, oldest_ns: int) -> None:
        """Say when what waits longest has come, as perf_counter_ns(); an empty queue forgets it."""
        self._fast[layout.QUEUE_OLDEST_NS] = oldest_ns

    def expected_wait(self, wait_s: float) -> None:
        """Say how long a request that came now would wait, in seconds."""
        self._fast[layout.QUEUE_WAIT_NS] = int(wait_s * 1e9)

    def reject(self, reason: Rejection, code: int) -> None:
        """Count a request that was not run."""
        self._fast[layout.REJECTED + reason] += 1
        self._fast[layout.REQUESTS + code] += 1

    def fail(self, code: int, duration_ns: int) -> None:
        """Count a request that failed in the model, or before it."""
        self._fast[layout.REQUESTS + code] += 1
        self._fast[layout.FAIL_NS] += duration_ns

    def refuse(self, code: int) -> None:
        """Count a request that was refused as wrong."""
        self._fast[layout.REQUESTS + code] += 1

    def closed_batch(self, reason: CloseReason) -> None:
        """Count a batch by the reason it was closed."""
        self._fast[layout.BATCHES + reason] += 1

    def executed(self, rows: int) -> None:
        """Count one execution of the model over `rows` rows."""
        fast = self._fast
        fast[layout.ROWS] += rows
        fast[layout.BATCH_HISTOGRAM + bisect_left(layout.BATCH_EDGES, rows)] += 1

    def executed_in(self, rows: int, assemble_ns: int, run_ns: int, encode_ns: int) -> None:
        """Add what one execution took."""
        if rows <= layout.MAX_EXACT_BATCH_SIZE:
            fast = self._fast
            base = layout.EXACT_BATCHES + 4 * (rows - 1)
            fast[base] += 1
            fast[base + 1] += assemble_ns
            fast[base + 2] += run_ns
            fast[base + 3] += encode_ns

    def answered(self, requests: int) -> None:
        """Count requests that are answered with OK."""
        self._fast[layout.REQUESTS] += requests
        self._fast[layout.LAST_INFERENCE_MS] = time.time_ns() // 1_000_000

    def answered_in(
        self,
        arrived_ns: Sequence[int],
        started_ns: int,
        assemble_ns: int,
        run_ns: int,
        encode_ns: int,
    ) -> None:
        """Add what the requests of one batch took, of which there is one or more.

        `arrived_ns` says when each has come, and `started_ns` when the batch was begun, both as
        perf_counter_ns().
        """
        fast, requests = self._fast, len(arrived_ns)
        batch_ns = assemble_ns + run_ns + encode_ns
        # A server that is not busy has one request a batch, and no use for a search in them.
        if requests == 1:
            queued_ns = started_ns - arrived_ns[0]
            fast[_QUEUE + bisect_left(_EDGES, queued_ns)] += 1
            fast[_DURATION + bisect_left(_EDGES, queued_ns + batch_ns)] += 1
        else:
            queued_ns = started_ns * requests - sum(arrived_ns)
            # They have come in order, and then this costs next to nothing.
            rising = sorted(arrived_ns)
            self._observe_until(_QUEUE, rising, started_ns)
            self._observe_until(_DURATION, rising, started_ns + batch_ns)
        fast[_QUEUE + _SUM] += queued_ns
        # Every member of a batch waits for the whole batch, so phases add up to a request's total.
        fast[_DURATION + _SUM] += queued_ns + batch_ns * requests
        for base, phase_ns in ((_ASSEMBLE, assemble_ns), (_RUN, run_ns), (_ENCODE, encode_ns)):
            fast[base + bisect_left(_EDGES, phase_ns)] += requests
            fast[base + _SUM] += phase_ns * requests

    def _observe_until(self, base: int, rising: Sequence[int], end_ns: int) -> None:
        """Count the times from each of the moments, which rise, to `end_ns`.

        A search a bucket, of which few are touched: less than to find the bucket of each time.
        """
        fast, left = self._fast, len(rising)
        bucket = bisect_left(_EDGES, end_ns - rising[-1])
        longest = bisect_left(_EDGES, end_ns - rising[0])
        while bucket < longest:
            longer = bisect_left(rising, end_ns - _EDGES[bucket], 0, left)
            fast[base + bucket] += left - longer
            left = longer
            bucket += 1
        fast[base + longest] += left

    def _text(self, start: int, words: int) -> str:
        return self.words[start : start + words].tobytes().rstrip(b"\0").decode(errors="replace")

    def _set_text(self, start: int, words: int, text: str) -> None:
        data = text.encode()
        if len(data) > words * 8:
            msg = f"'{text}' has {len(data)} bytes, at most {words * 8} are allowed"
            raise ValueError(msg)
        self.words[start : start + words] = np.frombuffer(data.ljust(words * 8, b"\0"), np.int64)
