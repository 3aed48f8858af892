"""Where each counter lies in a block, in 64-bit words, and the closed lists that index them.

Durations are nanoseconds; bucket edges are upper bounds, inclusive, as in Prometheus.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

CODES: Final = 17
LATENCY_EDGES_NS: Final = tuple(
    int(us * 1000)
    for us in (
        *(50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000),
        *(250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000),
    )
)
BATCH_EDGES: Final = tuple(1 << power for power in range(11))
# Batch sizes whose executions are counted one by one, for ModelStatistics.
MAX_EXACT_BATCH_SIZE: Final = 1024
MAX_MODELS: Final = 512


class WorkerState(IntEnum):
    """Where a worker is in its life."""

    DOWN = 0
    STARTING = 1
    SERVING = 2
    DRAINING = 3


class ModelState(IntEnum):
    """Where a model version is in its life, by the protocol's names."""

    UNKNOWN = 0
    LOADING = 1
    READY = 2
    UNLOADING = 3
    UNAVAILABLE = 4


class Phase(IntEnum):
    """The parts of a request's time in the server, in order."""

    QUEUE = 0
    ASSEMBLE = 1
    RUN = 2
    ENCODE = 3


class CloseReason(IntEnum):
    """Why a batch was closed."""

    FULL = 0
    IDLE = 1
    DELAY = 2
    DRAIN = 3
    DEADLINE = 4


class Rejection(IntEnum):
    """Why a request was not run."""

    QUEUE_FULL = 0
    EXPIRED = 1
    CANCELLED = 2
    HOPELESS = 3


class _Words:
    """Hands out offsets, in words."""

    def __init__(self, start: int = 0) -> None:
        self.end = start

    def take(self, words: int = 1) -> int:
        start = self.end
        self.end += words
        return start


LATENCY_BUCKETS = len(LATENCY_EDGES_NS) + 1
BATCH_BUCKETS = len(BATCH_EDGES) + 1

_model = _Words()
USED = _model.take()
VERSION = _model.take()
MODEL_STATE = _model.take()
LOAD_NS = _model.take()
QUEUE_REQUESTS = _model.take()
QUEUE_ROWS = _model.take()
QUEUE_LIMIT_ROWS = _model.take()
LAST_INFERENCE_MS = _model.take()
ROWS = _model.take()
EXECUTIONS = _model.take()
FAIL_NS = _model.take()
REQUESTS = _model.take(CODES)
REJECTED = _model.take(len(Rejection))
BATCHES = _model.take(len(CloseReason))
BATCH_HISTOGRAM = _model.take(BATCH_BUCKETS)
# A latency histogram is its buckets, then the sum.
DURATION = _model.take(LATENCY_BUCKETS + 1)
PHASES = _model.take(len(Phase) * (LATENCY_BUCKETS + 1))
# Four words a batch size: executions, and the nanoseconds they took to assemble, run and encode.
EXACT_BATCHES = _model.take(4 * MAX_EXACT_BATCH_SIZE)
NAME = _model.take(32)
PROVIDER = _model.take(8)
SHA256 = _model.take(8)
MODEL_WORDS: Final = _model.end

_worker = _Words()
WORKER_STATE = _worker.take()
WORKER_PID = _worker.take()
WORKER_HEARTBEAT_NS = _worker.take()
RPCS_START = _worker.end


def phase_offset(phase: Phase) -> int:
    """Return where a phase's latency histogram starts in a model's words."""
    return PHASES + phase * (LATENCY_BUCKETS + 1)
