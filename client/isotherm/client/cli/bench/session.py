"""A session: a plan's loads, one after the other, until it is done or interrupted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from isotherm.client.cli.bench import figures
from isotherm.client.cli.bench.crew import Crew
from isotherm.client.cli.bench.figures import Figures, Limits
from isotherm.client.cli.bench.load import Load
from isotherm.client.cli.bench.plan import Plan
from isotherm.client.cli.bench.ramp import Verdict, search
from isotherm.client.cli.bench.report import Report

# A ramp's answer is right to this share of itself.
PRECISION: Final = 0.05


def run(crew: Crew, plan: Plan, report: Report, tell: Callable[[Figures], None]) -> None:
    """Make the plan's loads and add their figures to the report; `tell` hears of each one."""
    try:
        if plan.limits is None:
            for load in plan.loads:
                if _measure(crew, plan, report, load, tell) is None:
                    break
        else:
            _ramp(crew, plan, report, plan.limits, tell)
    except KeyboardInterrupt:
        # Between two loads, or a second time: what has been measured is still good.
        report.interrupted = True


def _ramp(
    crew: Crew, plan: Plan, report: Report, limits: Limits, tell: Callable[[Figures], None]
) -> None:
    def verdict(rate: float) -> Verdict:
        measured = _measure(crew, plan, report, plan.arrival.at(rate), tell)
        return Verdict.INTERRUPTED if measured is None else limits.verdict(measured)

    report.limits = limits
    report.found = search(verdict, plan.start_rate, PRECISION)


def _measure(
    crew: Crew, plan: Plan, report: Report, load: Load, tell: Callable[[Figures], None]
) -> Figures | None:
    """Return the figures of one load; None when it was interrupted, and its figures are partial."""
    tally, interrupted = crew.measure(load, plan.period)
    measured = figures.of(load, tally, report.setting.rows_per_request)
    report.interrupted = interrupted
    if measured.requests or not interrupted:
        report.loads.append(measured)
    if interrupted:
        return None
    tell(measured)
    return measured
