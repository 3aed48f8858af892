"""Prometheus metrics: the workers' blocks, summed when they are scraped.

docs/metrics.md lists every family. Labels come from closed lists and from the models on disk, never
from what a client sends.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import metadata
from itertools import accumulate
from typing import Final

import numpy as np
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from isotherm.server import triton_metrics
from isotherm.server.counters import OTHER_RPC, Block
from isotherm.server.layout import (
    BATCH_EDGES,
    LATENCY_EDGES_NS,
    CloseReason,
    ModelState,
    Phase,
    Rejection,
    WorkerState,
)
from isotherm.server.rpcs import STREAMING_RPCS
from isotherm.server.totals import Latency, ModelTotals, total

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
# A worker whose loop has not beaten for so long is stuck.
STUCK_AFTER_S: Final = 10.0

_MODEL: Final = ("model", "version")
_GO_SPELLING: Final = {"OK": "OK", "CANCELLED": "Canceled"}
_STATES: Final = (
    ModelState.LOADING,
    ModelState.READY,
    ModelState.UNAVAILABLE,
    ModelState.UNLOADING,
)
_LATENCY_EDGES: Final = tuple(f"{edge_ns / 1e9:g}" for edge_ns in LATENCY_EDGES_NS)
_BATCH_SIZE_EDGES: Final = tuple(f"{edge}" for edge in BATCH_EDGES)


def ready(blocks: Sequence[Block]) -> bool:
    """Tell whether every worker serves, its loop beats, and every model is ready."""
    return all(
        block.state is WorkerState.SERVING and block.heartbeat_age_s() < STUCK_AFTER_S
        for block in blocks
    ) and all(model.state in {ModelState.READY, ModelState.UNKNOWN} for model in total(blocks))


def live(blocks: Sequence[Block]) -> bool:
    """Tell whether no worker's loop is stuck; one that is starting or restarting is not."""
    return not any(
        block.state in {WorkerState.SERVING, WorkerState.DRAINING}
        and block.heartbeat_age_s() >= STUCK_AFTER_S
        for block in blocks
    )


class ServerCollector(Collector):
    """Reads the blocks at every scrape. `restarts()` gives each worker's restarts so far."""

    def __init__(self, blocks: Sequence[Block], restarts: Callable[[], Sequence[int]]) -> None:
        self._blocks = blocks
        self._restarts = restarts

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        yield from self._server()
        yield from self._workers()
        yield self._rpcs()
        models = total(self._blocks)
        yield from _requests(models)
        yield from _batches(models)
        yield from _queues(models)
        yield from _life(models)
        yield from triton_metrics.families(models)

    def _server(self) -> Iterator[Metric]:
        build = _gauge("isotherm_build_info", "The version that runs.", ("version",))
        build.add_metric([metadata.version("isotherm")], 1)
        yield build
        draining = any(block.state is WorkerState.DRAINING for block in self._blocks)
        for name, text, value in (
            ("ready", "1 when every worker serves every model.", ready(self._blocks)),
            ("draining", "1 while the server is stopping.", draining),
            ("workers", "Worker processes that should run.", len(self._blocks)),
        ):
            gauge = _gauge(f"isotherm_{name}", text)
            gauge.add_metric([], value)
            yield gauge

    def _workers(self) -> Iterator[Metric]:
        label = ("worker",)
        up = _gauge("isotherm_worker_up", "1 while the worker serves or drains.", label)
        age = _gauge(
            "isotherm_worker_heartbeat_age_seconds", "Time since the worker's loop beat.", label
        )
        cpu = _counter("isotherm_worker_cpu_seconds", "CPU time of the worker process.", label)
        memory = _gauge(
            "isotherm_worker_resident_memory_bytes", "Resident memory of the worker.", label
        )
        restarts = _counter(
            "isotherm_worker_restarts", "Times the worker died and was started again.", label
        )
        for slot, (block, times) in enumerate(zip(self._blocks, self._restarts(), strict=True)):
            worker = [str(slot)]
            serving = block.state in {WorkerState.SERVING, WorkerState.DRAINING}
            up.add_metric(worker, serving)
            restarts.add_metric(worker, times)
            if serving:
                age.add_metric(worker, block.heartbeat_age_s())
            usage = _process_usage(block.pid)
            if usage is not None:
                cpu.add_metric(worker, usage[0])
                memory.add_metric(worker, usage[1])
        yield from (up, age, cpu, memory, restarts)

    def _rpcs(self) -> Metric:
        handled = _counter(
            "grpc_server_handled",
            "RPCs that have ended, whatever their status.",
            ("grpc_type", "grpc_service", "grpc_method", "grpc_code"),
        )
        counts = np.sum([block.rpc_counts() for block in self._blocks], axis=0)
        for path, row in zip(self._blocks[0].rpcs, counts, strict=True):
            if path == OTHER_RPC:
                labels = ["unary", OTHER_RPC, OTHER_RPC]
            else:
                _, service, method = path.split("/")
                labels = ["bidi_stream" if path in STREAMING_RPCS else "unary", service, method]
            for code, count in enumerate(row.tolist()):
                if count or code == 0:
                    handled.add_metric([*labels, _camel_case(CODE_NAMES[code])], count)
        return handled


def _requests(models: Sequence[ModelTotals]) -> Iterator[Metric]:
    requests = _counter("isotherm_requests", "Requests that have ended.", (*_MODEL, "code"))
    rejected = _counter(
        "isotherm_rejected",
        "Requests that were accepted or refused, but not run.",
        (*_MODEL, "reason"),
    )
    duration = _histogram(
        "isotherm_request_duration_seconds", "Time in the server of requests answered with OK."
    )
    phases = _histogram(
        "isotherm_phase_duration_seconds",
        "The parts of that time, as each request waited for them.",
        (*_MODEL, "phase"),
    )
    for model in models:
        labels = _labels(model)
        for code, count in enumerate(model.requests):
            if count or code in _MODEL_CODES:
                requests.add_metric([*labels, CODE_NAMES[code]], count)
        for reason, count in zip(Rejection, model.rejected, strict=True):
            rejected.add_metric([*labels, reason.name.lower()], count)
        _add_latency(duration, labels, model.duration)
        for phase in Phase:
            _add_latency(phases, [*labels, phase.name.lower()], model.phase(phase))
    yield from (requests, rejected, duration, phases)


def _batches(models: Sequence[ModelTotals]) -> Iterator[Metric]:
    rows = _counter("isotherm_inferences", "Rows that the model has run.", _MODEL)
    executions = _counter("isotherm_executions", "Calls of the runtime.", _MODEL)
    sizes = _histogram("isotherm_batch_size", "Rows in one call of the runtime.")
    batches = _counter("isotherm_batches", "Batches by why they were closed.", (*_MODEL, "reason"))
    for model in models:
        labels = _labels(model)
        rows.add_metric(labels, model.rows)
        executions.add_metric(labels, model.executions)
        sizes.add_metric(
            labels, _buckets(_BATCH_SIZE_EDGES, model.batch_histogram), sum_value=model.rows
        )
        for reason, count in zip(CloseReason, model.batches, strict=True):
            batches.add_metric([*labels, reason.name.lower()], count)
    yield from (rows, executions, sizes, batches)


def _queues(models: Sequence[ModelTotals]) -> Iterator[Metric]:
    requests = _gauge("isotherm_queue_pending_requests", "Requests that wait.", _MODEL)
    rows = _gauge("isotherm_queue_pending_rows", "Rows that wait.", _MODEL)
    limit = _gauge("isotherm_queue_limit_rows", "Rows that may wait, over all workers.", _MODEL)
    for model in models:
        labels = _labels(model)
        requests.add_metric(labels, model.queue_requests)
        rows.add_metric(labels, model.queue_rows)
        limit.add_metric(labels, model.queue_limit_rows)
    yield from (requests, rows, limit)


def _life(models: Sequence[ModelTotals]) -> Iterator[Metric]:
    info = _gauge("isotherm_model_info", "What is loaded.", (*_MODEL, "provider", "sha256"))
    state = _gauge("isotherm_model_state", "1 for the state the version is in.", (*_MODEL, "state"))
    load = _gauge(
        "isotherm_model_load_duration_seconds", "Time to load, prove and warm up.", _MODEL
    )
    for model in models:
        labels = _labels(model)
        info.add_metric([*labels, model.provider, model.sha256], 1)
        load.add_metric(labels, model.load_ns / 1e9)
        for candidate in _STATES:
            state.add_metric([*labels, candidate.name], model.state is candidate)
    yield from (info, state, load)


def _labels(model: ModelTotals) -> list[str]:
    return [model.name, str(model.version)]


def _gauge(name: str, text: str, labels: Sequence[str] = ()) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=labels)


def _counter(name: str, text: str, labels: Sequence[str]) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, labels=labels)


def _histogram(name: str, text: str, labels: Sequence[str] = _MODEL) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, text, labels=labels)


def _add_latency(family: HistogramMetricFamily, labels: Sequence[str], latency: Latency) -> None:
    buckets = _buckets(_LATENCY_EDGES, latency.buckets)
    family.add_metric(labels, buckets, sum_value=latency.sum_ns / 1e9)


def _buckets(edges: Sequence[str], counts: Iterable[int]) -> list[tuple[str, float]]:
    return list(zip((*edges, "+Inf"), accumulate(counts), strict=True))


def _camel_case(code: str) -> str:
    # As Go's gRPC writes them, whose metric this is.
    if code in _GO_SPELLING:
        return _GO_SPELLING[code]
    return "".join(word.capitalize() for word in code.split("_"))


def _process_usage(pid: int) -> tuple[float, int] | None:
    """Return (CPU seconds, resident bytes) of a process; None where that cannot be known."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            # The name in parentheses may hold blanks; what follows it has fixed places.
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
