"""Prometheus metrics: the workers' blocks, summed when they are scraped.

`families` defines every family, and docs/metrics.md lists them. Labels come from closed lists and
from the models on disk, never from what a client sends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from typing import Final

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from isotherm.server import model_metrics, triton_metrics, worker_metrics
from isotherm.server.counters import Block
from isotherm.server.families import workers
from isotherm.server.feedback_metrics import FeedbackMetrics
from isotherm.server.layout import WorkerState
from isotherm.server.totals import total

# A worker whose loop has not beaten for so long is stuck.
STUCK_AFTER_S: Final = 10.0


def ready(blocks: Sequence[Block]) -> bool:
    """Tell whether every worker serves, its loop beats, and every model that it should."""
    return all(
        block.state is WorkerState.SERVING and block.heartbeat_age_s() < STUCK_AFTER_S
        for block in blocks
    ) and not any(model.hinders for model in total(blocks))


def live(blocks: Sequence[Block]) -> bool:
    """Tell whether no worker's loop is stuck; one that is starting or restarting is not."""
    return not any(
        block.state in {WorkerState.SERVING, WorkerState.DRAINING}
        and block.heartbeat_age_s() >= STUCK_AFTER_S
        for block in blocks
    )


class ServerCollector(Collector):
    """Reads the blocks at every scrape. `restarts()` gives each worker's restarts so far."""

    def __init__(
        self,
        blocks: Sequence[Block],
        restarts: Callable[[], Sequence[int]],
        feedback_window_s: float = 3600.0,
    ) -> None:
        self._blocks = blocks
        self._restarts = restarts
        self._feedback = FeedbackMetrics(feedback_window_s)
        # Scrapes come on threads of their own; windows take totals in the order of their making.
        self._lock = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        yield from self._server()
        yield from worker_metrics.families(self._blocks, self._restarts())
        with self._lock:
            models = total(self._blocks)
            feedback = [*self._feedback.families(models)]
        yield from model_metrics.families(models)
        yield from feedback
        yield from triton_metrics.families(models)

    def _server(self) -> Iterator[Metric]:
        build = workers.BUILD_INFO.collect()
        build.add_metric([metadata.version("isotherm")], 1)
        yield build
        for family, value in (
            (workers.READY, ready(self._blocks)),
            (workers.DRAINING, any(b.state is WorkerState.DRAINING for b in self._blocks)),
            (workers.WORKERS, len(self._blocks)),
        ):
            gauge = family.collect()
            gauge.add_metric([], value)
            yield gauge
