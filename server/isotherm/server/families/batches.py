"""Families of the queue before a model and of the batches that leave it."""

from __future__ import annotations

from typing import Final

from isotherm.server.families.family import MODEL, Counter, Gauge, Histogram, Section, names
from isotherm.server.layout import CloseReason, Rejection

QUEUE_REQUESTS: Final = Gauge(
    "isotherm_queue_pending_requests", "requests that wait for a batch", MODEL
)
QUEUE_ROWS: Final = Gauge("isotherm_queue_pending_rows", "rows that wait for a batch", MODEL)
QUEUE_LIMIT: Final = Gauge(
    "isotherm_queue_limit_rows",
    "rows that may wait (`--max-queue-rows`); beyond it a request is refused with "
    "`RESOURCE_EXHAUSTED`",
    MODEL,
)
OLDEST_AGE: Final = Gauge(
    "isotherm_queue_oldest_age_seconds",
    "how long the oldest request has been waiting, at the worker where that is longest; 0 while "
    "none waits",
    MODEL,
)
EXPECTED_WAIT: Final = Gauge(
    "isotherm_queue_expected_wait_seconds",
    "how long a request that came now would wait, by the runs so far, at the worker where that is "
    "longest; looked at twice a second",
    MODEL,
)
REJECTED: Final = Counter(
    "isotherm_rejected_total",
    "requests that never reached the model",
    (*MODEL, "reason"),
    {"reason": names(Rejection)},
)
ROWS: Final = Counter("isotherm_inferences_total", "rows that went through the model", MODEL)
EXECUTIONS: Final = Counter(
    "isotherm_executions_total", "calls of the model: one for each batch", MODEL
)
SIZES: Final = Histogram("isotherm_batch_size", "rows of each executed batch", MODEL)
BATCHES: Final = Counter(
    "isotherm_batches_total",
    "batches by what closed them",
    (*MODEL, "reason"),
    {"reason": names(CloseReason)},
)

SECTION: Final = Section(
    "Queue and batches",
    (
        *(QUEUE_REQUESTS, QUEUE_ROWS, QUEUE_LIMIT, OLDEST_AGE, EXPECTED_WAIT),
        *(REJECTED, ROWS, EXECUTIONS, SIZES, BATCHES),
    ),
)
