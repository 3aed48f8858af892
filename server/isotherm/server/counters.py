"""The shared-memory block of counters: one a worker slot, written by the worker, read by everyone.

A block is an anonymous file of 64-bit words, made by the supervisor and inherited by its worker.
Its words are written by one thread without locks and read at any moment, so a reader may see a
request counted whose duration is not yet added; the next read has it. A worker that is started
again in the same slot finds its block as it was: counters go on, gauges start from zero.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from operator import itemgetter
from typing import Final

from isotherm.server import layout, memory
from isotherm.server.errors import LoadError
from isotherm.server.layout import ModelState, WorkerState
from isotherm.server.model_counters import ModelCounters, Words

# The RPCs that are counted by name; everything else is counted as this.
OTHER_RPC: Final = "_OTHER"
# A version that nobody serves any more keeps its counts for so long, should it come back: every
# worker has then seen that it is gone, and none goes on where another begins anew.
KEPT_S: Final = 30.0


class Block:
    """One worker slot's counters, as an inheritable file descriptor and words mapped from it."""

    def __init__(self, fd: int, rpcs: Sequence[str]) -> None:
        self.fd = fd
        self.rpcs = (*rpcs, OTHER_RPC)
        self._models_start = layout.RPCS_START + len(self.rpcs) * layout.CODES
        count = self._models_start + layout.MAX_MODELS * layout.MODEL_WORDS
        self.words: Words = memory.words(fd, count)

    @classmethod
    def create(cls, rpcs: Sequence[str]) -> Block:
        """Make a block of zeros."""
        return cls(memory.create("isotherm-counters"), rpcs)

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

    def beat(self, lag_s: float = 0.0) -> None:
        """Say that the worker's loop is alive, and how late its timers have lately been."""
        self.words[layout.WORKER_LOOP_LAG_NS] = int(lag_s * 1e9)
        self.words[layout.WORKER_HEARTBEAT_NS] = time.monotonic_ns()

    @property
    def loop_lag_s(self) -> float:
        """How late the timers of the worker's loop have lately been, in seconds."""
        return int(self.words[layout.WORKER_LOOP_LAG_NS]) / 1e9

    def heartbeat_age_s(self) -> float:
        """Return the time since the last beat, in seconds; infinity before the first."""
        beat_ns = int(self.words[layout.WORKER_HEARTBEAT_NS])
        return (time.monotonic_ns() - beat_ns) / 1e9 if beat_ns else float("inf")

    def restart(self) -> None:
        """Begin a new process in this slot: counters go on, gauges start from zero."""
        self.state = WorkerState.STARTING
        self._reset_gauges()

    def end(self) -> None:
        """Note that the process is gone; for who has seen it end."""
        self.state = WorkerState.DOWN
        self.pid = 0
        self._reset_gauges()

    @property
    def serving(self) -> bool:
        """Whether the worker answers calls, also while it drains."""
        return self.state in {WorkerState.SERVING, WorkerState.DRAINING}

    def rpc_counts(self) -> Words:
        """Return how many RPCs ended with each code, of shape (rpcs, codes)."""
        table = self.words[layout.RPCS_START : self._models_start]
        return table.reshape(len(self.rpcs), layout.CODES)

    def rpc_recorder(self) -> RpcRecorder:
        """Return the writer of the RPC table."""
        return RpcRecorder(self)

    def open_model(self, name: str, version: int, *, optional: bool = False) -> ModelCounters:
        """Return the counters of a model version: the old ones if it is still known here.

        A new one is `optional` from the first moment, where it is.
        """
        taken = int(self.words[layout.WORKER_SLOTS])
        free: int | None = None
        for slot in range(taken):
            model = self._slot(slot)
            if not model.ordinal:
                free = slot if free is None else free
            elif (model.name, model.version) == (name, version):
                return model
        if free is None:
            if taken == layout.MAX_MODELS:
                msg = f"a server has room for {layout.MAX_MODELS} model versions, all are taken"
                raise LoadError(msg)
            free = taken
        model = self._slot(free)
        ordinal = int(self.words[layout.WORKER_TAKES]) + 1
        model.take(name, version, ordinal, optional=optional)
        self.words[layout.WORKER_TAKES] += 1
        self.words[layout.WORKER_SLOTS] = max(taken, free + 1)
        return model

    def models(self) -> list[ModelCounters]:
        """Return the counters of every model version, in the order they were opened."""
        slots = map(self._slot, range(int(self.words[layout.WORKER_SLOTS])))
        known = [(model.ordinal, model) for model in slots]
        return [model for ordinal, model in sorted(known, key=itemgetter(0)) if ordinal]

    def release_models(self, blocks: Sequence[Block], kept_s: float = KEPT_S) -> None:
        """Free the slots of versions that no worker has served for `kept_s`; `blocks` are all.

        For this block's own worker.
        """
        table = self._table()
        unknown = table[:, layout.MODEL_STATE] == ModelState.UNKNOWN
        # Hundreds of models that idle are to cost nothing, twice a second.
        if not (table[unknown, layout.USED] != 0).any():
            return
        for model in self.models():
            if model.unknown_s > kept_s:
                key = model.name, model.version
                if not any(block.keeps(*key) for block in blocks):
                    model.release()

    def retire_unavailable(self, name: str, versions: Collection[int]) -> None:
        """Know no more of a model's versions that could not be loaded, but for `versions`."""
        for model in self.models():
            gone = model.name == name and model.version not in versions
            if gone and model.state is ModelState.UNAVAILABLE:
                model.reset_gauges()

    def keeps(self, name: str, version: int) -> bool:
        """Whether what this worker has counted for a version is still to be shown.

        So it is while the worker knows the version, or may find it again when it has started.
        """
        return any(
            (model.name, model.version) == (name, version)
            and (not self.serving or model.state is not ModelState.UNKNOWN)
            for model in self.models()
        )

    def tracks(self) -> int:
        """Return a number that is another one once more is counted of any model."""
        return int(
            self._table()[:, layout.ROWS : layout.DURATION + layout.LATENCY_BUCKETS + 1].sum()
        )

    def _table(self) -> Words:
        """Return the words of every slot that was ever taken, of shape (slots, words)."""
        taken = int(self.words[layout.WORKER_SLOTS])
        start, words = self._models_start, layout.MODEL_WORDS
        return self.words[start : start + taken * words].reshape(taken, words)

    def _reset_gauges(self) -> None:
        self.words[layout.WORKER_LOOP_LAG_NS] = 0
        for model in self.models():
            model.reset_gauges()

    def _slot(self, slot: int) -> ModelCounters:
        start = self._models_start + slot * layout.MODEL_WORDS
        return ModelCounters(self.words[start : start + layout.MODEL_WORDS])


class RpcRecorder:
    """Counts ended RPCs; called often, so it touches one word and no array."""

    def __init__(self, block: Block) -> None:
        self._words = memoryview(block.words.data).cast("B").cast("q")
        self._rows = {
            rpc: layout.RPCS_START + row * layout.CODES for row, rpc in enumerate(block.rpcs)
        }
        self._other = self._rows[OTHER_RPC]

    def __call__(self, path: str, code: int, calls: int = 1) -> None:
        """Count RPCs of one path that ended with `code`."""
        self._words[self._rows.get(path, self._other) + code] += calls
