"""Rules of requests: the two objectives, how fast their budgets burn, and who is sent away.

Two objectives over 30 days, per model over all replicas and versions:

  availability  99.9 % of requests end without a fault of ours   -> budget 0.001
  latency       99 % of answered requests take at most 100 ms    -> budget 0.01

A burn rate of 1 spends the budget in exactly 30 days. Each alert looks at a long window, so that it
is sure, and at a short one, so that it ends soon after the trouble does.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from deploy.observability.rules.rule import JOB, Alert, Group, Recording

# The statuses that are the server's fault.
FAULTS: Final = "UNKNOWN|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|INTERNAL|UNAVAILABLE|DATA_LOSS"
# On an edge of the histogram, so that it is counted and not interpolated.
OBJECTIVE_S: Final = "0.1"
_WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
# Fewer than 100 requests an hour are too few to judge by a ratio.
_FLOOR: Final = "100 / 3600"


class Burn(NamedTuple):
    """How fast a budget may burn, and over which two windows that is seen."""

    name: str
    factor: str
    long: str
    short: str
    hold: str
    severity: str


class Objective(NamedTuple):
    """What is promised, and what share of requests may break the promise."""

    name: str
    series: str
    budget: str
    broken: str


BURNS: Final = (
    Burn("FastBurn", "14.4", "1h", "5m", "2m", "page"),
    Burn("SlowBurn", "6", "6h", "30m", "15m", "page"),
    Burn("DayBurn", "3", "1d", "2h", "1h", "ticket"),
    Burn("ThreeDayBurn", "1", "3d", "6h", "3h", "ticket"),
)
OBJECTIVES: Final = (
    Objective("availability", "request_errors", "0.001", "of its requests failed"),
    Objective("latency", "slow_requests", "0.01", "of its answers took longer than 100 ms"),
)


def group() -> Group:
    """Return the group; its ratios are zero, not missing, for a model that never failed."""
    recorded = [rule for window in _WINDOWS for rule in _recorded(window)]
    burns = [_burn(objective, burn) for objective in OBJECTIVES for burn in BURNS]
    return Group("isotherm.requests", [*recorded, *_rejections(), *burns])


def _recorded(window: str) -> Iterator[Recording]:
    rate = f"job_model:isotherm_requests:rate{window}"
    yield Recording(
        record=rate, expr=f"sum by (job, model) (rate(isotherm_requests_total{{{JOB}}}[{window}]))"
    )
    failed = f'isotherm_requests_total{{{JOB}, code=~"{FAULTS}"}}[{window}]'
    yield Recording(
        record=f"job_model:isotherm_request_errors:ratio_rate{window}",
        expr=(
            f"(\n  sum by (job, model) (rate({failed}))\n  or\n  0 * {rate}\n)\n/ ({rate} > 0)\n"
        ),
    )
    duration = "isotherm_request_duration_seconds"
    quick = f'{duration}_bucket{{{JOB}, le="{OBJECTIVE_S}"}}[{window}]'
    answered = f"{duration}_count{{{JOB}}}[{window}]"
    yield Recording(
        record=f"job_model:isotherm_slow_requests:ratio_rate{window}",
        expr=(
            f"1 -\nsum by (job, model) (rate({quick}))\n"
            f"/ (sum by (job, model) (rate({answered})) > 0)\n"
        ),
    )


def _rejections() -> Iterator[Recording | Alert]:
    refused = f'isotherm_rejected_total{{{JOB}, reason=~"queue_full|hopeless|expired"}}[5m]'
    yield Recording(
        record="job_model:isotherm_rejected:ratio_rate5m",
        expr=(
            f"sum by (job, model) (rate({refused}))\n/ (job_model:isotherm_requests:rate5m > 0)\n"
        ),
    )
    yield Alert(
        name="IsothermRejections",
        expr="job_model:isotherm_rejected:ratio_rate5m > 0.01",
        hold="5m",
        severity="ticket",
        summary="{{ $labels.model }} refuses requests: more arrive than it can answer in time.",
        description=(
            "{{ $value | humanizePercentage }} of the requests of the last 5 minutes found the "
            "queue full or would have missed their deadline."
        ),
    )


def _burn(objective: Objective, burn: Burn) -> Alert:
    ratio = f"job_model:isotherm_{objective.series}:ratio_rate"
    limit = f"{burn.factor} * {objective.budget}"
    return Alert(
        name=f"Isotherm{objective.name.capitalize()}{burn.name}",
        expr=(
            f"{ratio}{burn.long} > {limit}\nand\n{ratio}{burn.short} > {limit}\nand\n"
            f"job_model:isotherm_requests:rate{burn.long} > {_FLOOR}\n"
        ),
        hold=burn.hold,
        severity=burn.severity,
        labels={"objective": objective.name},
        summary=(
            f"{{{{ $labels.model }}}} burns its {objective.name} budget "
            f"{burn.factor} times too fast."
        )
        if burn.factor != "1"
        else f"{{{{ $labels.model }}}} will not keep its {objective.name} objective this month.",
        description=f"{{{{ $value | humanizePercentage }}}} {objective.broken} within {burn.long}.",
    )
