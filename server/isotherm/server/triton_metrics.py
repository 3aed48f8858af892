"""Triton's metric names, for dashboards and autoscalers that know them: our counts, its units.

Triton's own text calls them counters, and their names lack the `_total` that Prometheus asks of
one; here their type is left open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client.metrics_core import Metric

from isotherm.server.layout import Phase, Rejection
from isotherm.server.totals import ModelTotals

_INTERNAL: Final = 13


def families(models: Sequence[ModelTotals]) -> Iterator[Metric]:
    """Yield Triton's families of one scrape."""
    for name, text, value in _FAMILIES:
        family = Metric(f"nv_inference_{name}", text, "unknown")
        for model in models:
            family.add_sample(family.name, _labels(model), value(model))
        yield family
    failure = Metric("nv_inference_request_failure", "Requests that failed.", "unknown")
    for model in models:
        for reason, count in _failures(model).items():
            failure.add_sample(failure.name, _labels(model) | {"reason": reason}, count)
    yield failure


def _us(phase: Phase) -> Callable[[ModelTotals], float]:
    return lambda model: model.phase(phase).sum_ns // 1000


_FAMILIES: Final[Sequence[tuple[str, str, Callable[[ModelTotals], float]]]] = (
    ("request_success", "Requests answered with OK.", lambda model: model.requests[0]),
    ("count", "Rows that the model has run.", lambda model: model.rows),
    ("exec_count", "Calls of the runtime.", lambda model: model.executions),
    (
        "request_duration_us",
        "Time in the server of requests answered with OK.",
        lambda model: model.duration.sum_ns // 1000,
    ),
    ("queue_duration_us", "Their time in the queue.", _us(Phase.QUEUE)),
    ("compute_input_duration_us", "Their time in assembly.", _us(Phase.ASSEMBLE)),
    ("compute_infer_duration_us", "Their time in the model.", _us(Phase.RUN)),
    ("compute_output_duration_us", "Their time until they were written.", _us(Phase.ENCODE)),
    ("pending_request_count", "Requests that wait.", lambda model: model.queue_requests),
)


def _failures(model: ModelTotals) -> dict[str, int]:
    """Return failures by Triton's reasons; like there, a caller's mistake is none of them."""
    return {
        "REJECTED": model.rejected[Rejection.EXPIRED],
        "CANCELED": model.rejected[Rejection.CANCELLED],
        "BACKEND": model.requests[_INTERNAL],
        "OTHER": 0,
    }


def _labels(model: ModelTotals) -> dict[str, str]:
    return {"model": model.name, "version": str(model.version)}
