"""The report of a bench: a table for people, JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from rich.table import Table

from isotherm.client.cli.bench.figures import BUSY_SHARE, Figures, Limits
from isotherm.client.cli.bench.ramp import Ended, Found, Verdict
from isotherm.client.cli.bench.tally import NOT_SENT

# Raised when a name of the JSON goes or changes its meaning, not when one is added.
SCHEMA_VERSION: Final = 1
_DIGITS: Final = 3
_HEADS: Final = (
    *("load", "answers\n/s", "rows\n/s", "p50\nms", "p90\nms", "p99\nms", "p99.9\nms", "max\nms"),
    *("errors", "lag p99\nms", "CPU"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What was the same for all loads; the names are those of the JSON report."""

    address: str
    model: str
    model_version: str
    rows_per_request: int
    request_bytes: int
    input: str
    processes: int
    connections: int
    duration_s: float
    warmup_s: float
    timeout_s: float


@dataclass(slots=True)
class Report:
    """A bench as far as it came."""

    setting: Setting
    loads: list[Figures] = field(default_factory=list)
    limits: Limits | None = None
    found: Found | None = None
    interrupted: bool = False


def as_json(report: Report) -> str:
    """Return the report as one JSON object; what was not measured is null."""
    shown: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        **asdict(report.setting),
        "interrupted": report.interrupted,
        "loads": [asdict(figures) for figures in report.loads],
        "ramp": None,
    }
    if report.limits is not None and report.found is not None:
        shown["ramp"] = {
            "latency_p99_limit_us": report.limits.p99_us,
            "error_share_limit": report.limits.error_share,
            "highest_rate_per_s": report.found.rate,
            "ended": report.found.ended.value,
        }
    return json.dumps(_without_nan(shown), indent=2) + "\n"


def heading(setting: Setting) -> str:
    """Return who is asked for what."""
    rows = _count(setting.rows_per_request, "row")
    return f"model {setting.model} at {setting.address}, {rows} a request"


def title(setting: Setting) -> str:
    """Return what is measured, in a sentence."""
    return (
        f"{heading(setting)} ({setting.request_bytes} bytes, {setting.input}); "
        f"{_count(setting.processes * setting.connections, 'connection')} of "
        f"{_count(setting.processes, 'process', 'es')}; {setting.duration_s:g} s after "
        f"{setting.warmup_s:g} s of warm-up"
    )


def as_table(loads: Sequence[Figures]) -> Table:
    """Return a line a load."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    for head in _HEADS:
        table.add_column(head, justify="right", no_wrap=True)
    for figures in loads:
        latencies_us = (
            *(figures.latency_p50_us, figures.latency_p90_us, figures.latency_p99_us),
            *(figures.latency_p999_us, figures.latency_max_us),
        )
        table.add_row(
            figures.load,
            f"{figures.achieved_per_s:.0f}",
            f"{figures.rows_per_s:.0f}",
            *map(_milliseconds, latencies_us),
            str(figures.requests - figures.answered),
            _milliseconds(figures.send_lag_p99_us if figures.loop == "open" else math.nan),
            f"{figures.generator_cpu_share:.0%}",
        )
    return table


def notes(report: Report) -> Iterator[str]:
    """Yield the sentences that belong below the table."""
    for figures in report.loads:
        if figures.errors:
            counts = ", ".join(f"{count} {name}" for name, count in figures.errors.items())
            yield f"{figures.load}: of {figures.requests} requests {counts}"
        if not math.isnan(figures.refusal_p99_us):
            within = _milliseconds(figures.refusal_p99_us)
            yield f"{figures.load}: 99 % of the RESOURCE_EXHAUSTED came within {within} ms"
        if NOT_SENT in figures.errors:
            yield (
                f"{figures.load}: NOT_SENT are requests that the generator left out: too many "
                "others were unanswered, or it was too far behind"
            )
        if figures.generator_limited and not _held(figures, report.limits):
            yield _limited(figures)
    if report.interrupted:
        yield "interrupted: the figures are of what was measured until then"
    if report.limits is not None and report.found is not None:
        yield _found(report.limits, report.found)


def step(figures: Figures, limits: Limits | None) -> str:
    """Return one load of several, in a line; of a ramp with what became of it."""
    verdict = f", {limits.verdict(figures).value}" if limits is not None else ""
    return (
        f"{figures.load}: {figures.achieved_per_s:.0f} answers/s, p99 "
        f"{_milliseconds(figures.latency_p99_us)} ms, errors {figures.error_share:.2%}{verdict}"
    )


def _held(figures: Figures, limits: Limits | None) -> bool:
    return limits is not None and limits.verdict(figures) is Verdict.HELD


def _limited(figures: Figures) -> str:
    share = f"{figures.generator_cpu_share:.0%} of a CPU"
    if figures.generator_cpu_share > BUSY_SHARE:
        return (
            f"{figures.load}: the generator was the limit, not the server: its busiest process "
            f"took {share}; give it more --processes, on CPUs that the server does not need"
        )
    return (
        f"{figures.load}: the generator was the limit, not the server: it sent late, by "
        f"{_milliseconds(figures.send_lag_p99_us)} ms at p99, although it took {share} only; "
        "something else needs the CPUs of this machine"
    )


def _found(limits: Limits, found: Found) -> str:
    terms = f"p99 <= {limits.p99_us / 1000:g} ms and errors <= {limits.error_share:.2%}"
    if found.rate is None:
        return {
            Ended.GENERATOR: f"ramp: the generator was the limit before any rate kept {terms}",
            Ended.INTERRUPTED: f"ramp: interrupted before any rate kept {terms}",
        }.get(found.ended, f"ramp: no rate kept {terms}")
    highest = f"{found.rate:.6g}/s with {terms}"
    return {
        Ended.FOUND: f"ramp: the server holds {highest}",
        Ended.GENERATOR: f"ramp: the server holds at least {highest}; the generator was the limit",
    }.get(found.ended, f"ramp: interrupted; the server holds at least {highest}")


def _count(number: int, noun: str, plural: str = "s") -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}{plural}"


def _milliseconds(duration_us: float) -> str:
    if math.isnan(duration_us):
        return "-"
    text = f"{duration_us / 1000:.{_DIGITS}g}"
    # Never 1.23e+03: whole milliseconds are digits enough.
    return f"{duration_us / 1000:.0f}" if "e" in text else text


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
