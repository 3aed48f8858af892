"""What the scrape says of each model version: requests, batches, queues and life."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar

from isotherm.server.exemplars import Exemplars
from isotherm.server.families import batches, calls, models
from isotherm.server.layout import (
    BATCH_EDGES,
    LATENCY_BUCKETS,
    LATENCY_EDGES_NS,
    CloseReason,
    Phase,
    Rejection,
)
from isotherm.server.totals import Latency, ModelTotals

CODE_NAMES: Final = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"),
    *("ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"),
    *("ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
    "UNAUTHENTICATED",
)
# Shown from the start: a rate sees a failure only if the series was there before it.
_MODEL_CODES: Final = frozenset(
    CODE_NAMES.index(name)
    for name in (
        *("OK", "CANCELLED", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"),
        *("UNIMPLEMENTED", "INTERNAL"),
    )
)
_LATENCY_EDGES: Final = tuple(f"{edge_ns / 1e9:g}" for edge_ns in LATENCY_EDGES_NS)
_BATCH_SIZE_EDGES: Final = tuple(f"{edge}" for edge in BATCH_EDGES)


def families(totals: Sequence[ModelTotals]) -> Iterator[Metric]:
    """Yield the models' families of one scrape."""
    yield from _requests(totals)
    yield from _batches(totals)
    yield from _queues(totals)
    yield from _life(totals)
    yield from _places(totals)


def labels_of(model: ModelTotals) -> list[str]:
    """Return the values of the labels `model` and `version`."""
    return [model.name, str(model.version)]


def _requests(totals: Sequence[ModelTotals]) -> Iterator[Metric]:
    requests = calls.REQUESTS.collect()
    rejected = batches.REJECTED.collect()
    duration = calls.DURATION.collect()
    phases = calls.PHASES.collect()
    for model in totals:
        labels = labels_of(model)
        for code, count in enumerate(model.requests):
            if count or code in _MODEL_CODES:
                requests.add_metric([*labels, CODE_NAMES[code]], count)
        for reason, count in zip(Rejection, model.rejected, strict=True):
            rejected.add_metric([*labels, reason.name.lower()], count)
        _add_latency(duration, labels, model.duration, model.exemplars)
        for phase in Phase:
            _add_latency(phases, [*labels, phase.name.lower()], model.phase(phase))
    yield from (requests, rejected, duration, phases)


def _batches(totals: Sequence[ModelTotals]) -> Iterator[Metric]:
    rows = batches.ROWS.collect()
    executions = batches.EXECUTIONS.collect()
    sizes = batches.SIZES.collect()
    closed = batches.BATCHES.collect()
    for model in totals:
        labels = labels_of(model)
        rows.add_metric(labels, model.rows)
        executions.add_metric(labels, model.executions)
        sizes.add_metric(
            labels, _buckets(_BATCH_SIZE_EDGES, model.batch_histogram), sum_value=model.rows
        )
        for reason, count in zip(CloseReason, model.batches, strict=True):
            closed.add_metric([*labels, reason.name.lower()], count)
    yield from (rows, executions, sizes, closed)


def _queues(totals: Sequence[ModelTotals]) -> Iterator[Metric]:
    requests = batches.QUEUE_REQUESTS.collect()
    rows = batches.QUEUE_ROWS.collect()
    limit = batches.QUEUE_LIMIT.collect()
    age = batches.OLDEST_AGE.collect()
    wait = batches.EXPECTED_WAIT.collect()
    for model in totals:
        labels = labels_of(model)
        requests.add_metric(labels, model.queue_requests)
        rows.add_metric(labels, model.queue_rows)
        limit.add_metric(labels, model.queue_limit_rows)
        age.add_metric(labels, model.queue_oldest_age_s)
        wait.add_metric(labels, model.expected_wait_s)
    yield from (requests, rows, limit, age, wait)


def _life(totals: Sequence[ModelTotals]) -> Iterator[Metric]:
    info = models.INFO.collect()
    state = models.STATE.collect()
    load = models.LOAD_DURATION.collect()
    loads = models.LOADS.collect()
    for model in totals:
        labels = labels_of(model)
        info.add_metric([*labels, model.provider, model.sha256], 1)
        load.add_metric(labels, model.load_ns / 1e9)
        for result, count in zip(models.LOADS.values["result"], model.loads, strict=True):
            loads.add_metric([*labels, result], count)
        for candidate in models.STATES:
            state.add_metric([*labels, candidate.name], model.state is candidate)
    yield from (info, state, load, loads)


def _places(totals: Sequence[ModelTotals]) -> Iterator[Metric]:
    fallback = models.FALLBACK.collect()
    break_even = models.BREAK_EVEN.collect()
    memory = models.DEVICE_MEMORY.collect()
    graphs = models.GRAPHS.collect()
    lent = models.BUFFERS_LENT.collect()
    for model in totals:
        labels = labels_of(model)
        fallback.add_metric(labels, model.fell_back)
        break_even.add_metric(labels, model.break_even_rows)
        memory.add_metric(labels, model.device_bytes)
        graphs.add_metric(labels, model.graph_sizes)
        lent.add_metric(labels, model.buffers_lent)
    yield from (fallback, break_even, memory, graphs, lent)


def _add_latency(
    family: HistogramMetricFamily,
    labels: Sequence[str],
    latency: Latency,
    traced: Exemplars = (None,) * LATENCY_BUCKETS,
) -> None:
    buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = [
        bucket if found is None else (*bucket, Exemplar({"trace_id": found[2]}, found[1], found[0]))
        for bucket, found in zip(_buckets(_LATENCY_EDGES, latency.buckets), traced, strict=True)
    ]
    family.add_metric(labels, buckets, sum_value=latency.sum_ns / 1e9)


def _buckets(edges: Sequence[str], counts: Iterable[int]) -> list[tuple[str, float]]:
    return list(zip((*edges, "+Inf"), accumulate(counts), strict=True))
