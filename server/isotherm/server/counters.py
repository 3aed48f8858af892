"""The shared-memory block of counters: one a worker slot, written by the worker, read by everyone.

A block is an anonymous file of 64-bit words, made by the supervisor and inherited by its worker.
Its words are written by one thread without locks and read at any moment, so a reader may see a
request counted whose duration is not yet added; the next read has it. A worker that is started
again in the same slot finds its block as it was: counters go on, gauges start from zero.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from isotherm.server import layout
from isotherm.server.errors import LoadError
from isotherm.server.layout import CloseReason, ModelState, Phase, Rejection, WorkerState

Words = NDArray[np.int64]

# The RPCs that are counted by name; everything else is counted as this.
OTHER_RPC: Final = "_OTHER"
# From this many values on, one vectorised update is cheaper than a loop.
VECTORISE_FROM: Final = 24


class Block:
    """One worker slot's counters, as an inheritable file descriptor and words mapped from it."""

    def __init__(self, fd: int, rpcs: Sequence[str]) -> None:
        self.fd = fd
        self.rpcs = (*rpcs, OTHER_RPC)
        self._models_start = layout.RPCS_START + len(self.rpcs) * layout.CODES
        size = 8 * (self._models_start + layout.MAX_MODELS * layout.MODEL_WORDS)
        os.truncate(fd, size)
        self.words: Words = np.frombuffer(mmap.mmap(fd, size), np.int64)

    @classmethod
    def create(cls, rpcs: Sequence[str]) -> Block:
        """Make a block of zeros. Pages take memory only once they are written."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("isotherm-counters")
        else:
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        return cls(fd, rpcs)

    @property
    def state(self) -> WorkerState:
        """The worker's state."""
        return WorkerState(int(self.words[layout.WORKER_STATE]))

    @state.setter
    def state(self, state: WorkerState) -> None:
        self.words[layout.WORKER_STATE] = state

    @property
    def pid(self) -> int:
        """The worker's process id; 0 when there is none."""
        return int(self.words[layout.WORKER_PID])

    @pid.setter
    def pid(self, pid: int) -> None:
        self.words[layout.WORKER_PID] = pid

    def beat(self) -> None:
        """Say that the worker's loop is alive."""
        self.words[layout.WORKER_HEARTBEAT_NS] = time.monotonic_ns()

    def heartbeat_age_s(self) -> float:
        """Return the time since the last beat, in seconds; infinity before the first."""
        beat_ns = int(self.words[layout.WORKER_HEARTBEAT_NS])
        return (time.monotonic_ns() - beat_ns) / 1e9 if beat_ns else float("inf")

    def restart(self) -> None:
        """Begin a new process in this slot: counters go on, gauges start from zero."""
        self.state = WorkerState.STARTING
        for model in self.models():
            model.reset_gauges()

    def rpc_counts(self) -> Words:
        """Return how many RPCs ended with each code, of shape (rpcs, codes)."""
        table = self.words[layout.RPCS_START : self._models_start]
        return table.reshape(len(self.rpcs), layout.CODES)

    def rpc_recorder(self) -> RpcRecorder:
        """Return the writer of the RPC table."""
        return RpcRecorder(self)

    def open_model(self, name: str, version: int) -> ModelCounters:
        """Return the counters of a model version: the old ones if it was here before."""
        free = None
        for model in self._slots():
            if not model.used:
                free = free or model
                break
            if (model.name, model.version) == (name, version):
                return model
        if free is None:
            msg = f"a server has room for {layout.MAX_MODELS} model versions, all are taken"
            raise LoadError(msg)
        free.take(name, version)
        return free

    def models(self) -> Iterator[ModelCounters]:
        """Yield the counters of every model version that was ever opened."""
        for model in self._slots():
            if not model.used:
                return
            yield model

    def _slots(self) -> Iterator[ModelCounters]:
        for slot in range(layout.MAX_MODELS):
            start = self._models_start + slot * layout.MODEL_WORDS
            yield ModelCounters(self.words[start : start + layout.MODEL_WORDS])


class RpcRecorder:
    """Counts ended RPCs; called once a call, so it touches one word and no array."""

    def __init__(self, block: Block) -> None:
        self._words = memoryview(block.words.data).cast("B").cast("q")
        self._rows = {
            rpc: layout.RPCS_START + row * layout.CODES for row, rpc in enumerate(block.rpcs)
        }
        self._other = self._rows[OTHER_RPC]

    def __call__(self, rpc: str, code: int) -> None:
        """Count one RPC that ended with `code`."""
        self._words[self._rows.get(rpc, self._other) + code] += 1


class ModelCounters:
    """The counters of one model version in one worker."""

    def __init__(self, words: Words) -> None:
        self.words = words
        # An item of a memoryview costs a third of an array's.
        self._fast = memoryview(words.data).cast("B").cast("q")

    @property
    def used(self) -> bool:
        """Whether the slot belongs to a model version."""
        return bool(self.words[layout.USED])

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
    def provider(self) -> str:
        """The execution provider the version runs on; empty before it is loaded."""
        return self._text(layout.PROVIDER, 8)

    @property
    def sha256(self) -> str:
        """The first 12 hexadecimal digits of the file's SHA-256."""
        return self._text(layout.SHA256, 8)

    def take(self, name: str, version: int) -> None:
        """Make the slot a model version's own."""
        self._set_text(layout.NAME, 32, name)
        self.words[layout.VERSION] = version
        self.words[layout.USED] = 1

    def loaded(self, *, provider: str, sha256: str, load_ns: int, queue_limit_rows: int) -> None:
        """Note what was loaded, and how long it took."""
        self._set_text(layout.PROVIDER, 8, provider)
        self._set_text(layout.SHA256, 8, sha256[:12])
        self.words[layout.LOAD_NS] = load_ns
        self.words[layout.QUEUE_LIMIT_ROWS] = queue_limit_rows
        self.state = ModelState.READY

    def reset_gauges(self) -> None:
        """Forget what only the previous process knew."""
        for gauge in (layout.QUEUE_REQUESTS, layout.QUEUE_ROWS, layout.QUEUE_LIMIT_ROWS):
            self.words[gauge] = 0
        self.state = ModelState.UNKNOWN

    def queue(self, requests: int, rows: int) -> None:
        """Set the queue's gauges."""
        self._fast[layout.QUEUE_REQUESTS] = requests
        self._fast[layout.QUEUE_ROWS] = rows

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
        fast[layout.EXECUTIONS] += 1
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
        self, queue_ns: Sequence[int], assemble_ns: int, run_ns: int, encode_ns: int
    ) -> None:
        """Add what the requests of one batch took, one entry of `queue_ns` each."""
        requests = len(queue_ns)
        batch_ns = assemble_ns + run_ns + encode_ns
        self._observe_each(layout.phase_offset(Phase.QUEUE), queue_ns, 0)
        self._observe_each(layout.DURATION, queue_ns, batch_ns)
        # Every member of a batch waits for the whole batch, so phases add up to a request's total.
        self._observe_same(layout.phase_offset(Phase.ASSEMBLE), assemble_ns, requests)
        self._observe_same(layout.phase_offset(Phase.RUN), run_ns, requests)
        self._observe_same(layout.phase_offset(Phase.ENCODE), encode_ns, requests)

    def _observe_same(self, base: int, value_ns: int, times: int) -> None:
        self._fast[base + bisect_left(layout.LATENCY_EDGES_NS, value_ns)] += times
        self._fast[base + layout.LATENCY_BUCKETS] += value_ns * times

    def _observe_each(self, base: int, values_ns: Sequence[int], plus_ns: int) -> None:
        fast = self._fast
        fast[base + layout.LATENCY_BUCKETS] += sum(values_ns) + plus_ns * len(values_ns)
        if len(values_ns) < VECTORISE_FROM:
            for value_ns in values_ns:
                fast[base + bisect_left(layout.LATENCY_EDGES_NS, value_ns + plus_ns)] += 1
            return
        buckets = np.searchsorted(layout.LATENCY_EDGES_NS, np.array(values_ns) + plus_ns)
        self.words[base : base + layout.LATENCY_BUCKETS] += np.bincount(
            buckets, minlength=layout.LATENCY_BUCKETS
        )

    def _text(self, start: int, words: int) -> str:
        return self.words[start : start + words].tobytes().rstrip(b"\0").decode(errors="replace")

    def _set_text(self, start: int, words: int, text: str) -> None:
        data = text.encode()
        if len(data) > words * 8:
            msg = f"'{text}' has {len(data)} bytes, at most {words * 8} are allowed"
            raise ValueError(msg)
        self.words[start : start + words] = np.frombuffer(data.ljust(words * 8, b"\0"), np.int64)
