"""Triton's metric names, for dashboards and autoscalers that know them: our counts, its units.

Triton's own text calls them counters, and their names lack the `_total` that Prometheus asks of
one; here their type is left open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client.metrics_core import Metric

from isotherm.server.families import triton
from isotherm.server.families.family import Untyped
from isotherm.server.layout import Phase, Rejection
from isotherm.server.totals import ModelTotals

_INTERNAL: Final = 13


def families(models: Sequence[ModelTotals]) -> Iterator[Metric]:
    """Yield Triton's families of one scrape."""
    for family, value in _VALUES:
        metric = family.collect()
        for model in models:
            metric.add_sample(family.name, _labels(model), value(model))
        yield metric
    failure = triton.FAILURE.collect()
    for model in models:
        for reason, count in _failures(model).items():
            failure.add_sample(failure.name, _labels(model) | {"reason": reason}, count)
    yield failure


def _us(phase: Phase) -> Callable[[ModelTotals], float]:
    return lambda model: model.phase(phase).sum_ns // 1000


_VALUES: Final[Sequence[tuple[Untyped, Callable[[ModelTotals], float]]]] = (
    (triton.SUCCESS, lambda model: model.answered),
    (triton.ROWS, lambda model: model.rows),
    (triton.EXECUTIONS, lambda model: model.executions),
    (triton.DURATION, lambda model: model.duration.sum_ns // 1000),
    (triton.QUEUE, _us(Phase.QUEUE)),
    (triton.INPUT, _us(Phase.ASSEMBLE)),
    (triton.INFER, _us(Phase.RUN)),
    (triton.OUTPUT, _us(Phase.ENCODE)),
    (triton.PENDING, lambda model: model.queue_requests),
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
