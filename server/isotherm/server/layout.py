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
# Of a model that takes feedback, with names of at most so many words.
MAX_TARGETS: Final = 16
TARGET_NAME_WORDS: Final = 32


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


class ErrorSum(IntEnum):
    """What is summed of a target's errors (prediction - truth) and truths."""

    ROWS = 0
    OVER = 1
    UNDER = 2
    SQUARED = 3
    # The truth's deviation from the mean of the training, up, down and squared.
    ABOVE = 4
    BELOW = 5
    SQUARED_DEVIATION = 6
    # Rows that have a prediction interval, and those whose truth lies in it.
    INTERVAL_ROWS = 7
    COVERED_ROWS = 8


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
EXEMPLAR_WORDS = 4

_model = _Words()
# Which of the block's takings gave the slot to its version; 0 while it is free.
USED = _model.take()
VERSION = _model.take()
MODEL_STATE = _model.take()
LOAD_NS = _model.take()
QUEUE_REQUESTS = _model.take()
QUEUE_ROWS = _model.take()
QUEUE_LIMIT_ROWS = _model.take()
# When the oldest request that waits has come, and how long one that came now would wait.
QUEUE_OLDEST_NS = _model.take()
QUEUE_WAIT_NS = _model.take()
# Where it runs: from how many rows on on a device, what it has there, whether it should be there.
BREAK_EVEN_ROWS = _model.take()
DEVICE_BYTES = _model.take()
GRAPH_SIZES = _model.take()
BUFFERS_LENT = _model.take()
FELL_BACK = _model.take()
MODEL_GAUGES: Final = (
    *(QUEUE_REQUESTS, QUEUE_ROWS, QUEUE_LIMIT_ROWS),
    *(QUEUE_OLDEST_NS, QUEUE_WAIT_NS),
    *(BREAK_EVEN_ROWS, DEVICE_BYTES, GRAPH_SIZES, BUFFERS_LENT, FELL_BACK),
)
UNKNOWN_SINCE_NS = _model.take()
# 1 for a version without which the server is ready all the same.
OPTIONAL = _model.take()
# Loads that worked, and loads that did not.
LOADS = _model.take(2)
LAST_INFERENCE_MS = _model.take()
ROWS = _model.take()
FAIL_NS = _model.take()
REQUESTS = _model.take(CODES)
REJECTED = _model.take(len(Rejection))
BATCHES = _model.take(len(CloseReason))
BATCH_HISTOGRAM = _model.take(BATCH_BUCKETS)
# A latency histogram is its buckets, then the sum.
DURATION = _model.take(LATENCY_BUCKETS + 1)
PHASES = _model.take(len(Phase) * (LATENCY_BUCKETS + 1))
# The last traced request of each bucket of DURATION.
EXEMPLARS = _model.take(EXEMPLAR_WORDS * LATENCY_BUCKETS)
# Four words a batch size: executions, and the nanoseconds they took to assemble, run and encode.
EXACT_BATCHES = _model.take(4 * MAX_EXACT_BATCH_SIZE)
NAME = _model.take(32)
PROVIDER = _model.take(8)
SHA256 = _model.take(8)
# Feedback: how many targets, then float64 in 64-bit words, then the targets' names.
FEEDBACK_TARGETS = _model.take()
FEEDBACK_SUMS = _model.take(MAX_TARGETS * len(ErrorSum))
FEEDBACK_CENTRES = _model.take(MAX_TARGETS)
FEEDBACK_DELAY = _model.take(2)
FEEDBACK_NAMES = _model.take(MAX_TARGETS * TARGET_NAME_WORDS)
MODEL_WORDS: Final = _model.end

_worker = _Words()
WORKER_STATE = _worker.take()
WORKER_PID = _worker.take()
WORKER_HEARTBEAT_NS = _worker.take()
WORKER_LOOP_LAG_NS = _worker.take()
# Models' slots that have ever been taken, and how often one was.
WORKER_SLOTS = _worker.take()
WORKER_TAKES = _worker.take()
RPCS_START = _worker.end


def phase_offset(phase: Phase) -> int:
    """Return where a phase's latency histogram starts in a model's words."""
    return PHASES + phase * (LATENCY_BUCKETS + 1)
