"""The figures of one load: rates, percentiles, errors, and what the generator itself did."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from isotherm.client.cli.bench.load import Load, Open
from isotherm.client.cli.bench.ramp import Verdict
from isotherm.client.cli.bench.tally import Tally

# A process of Python that computes for more of the time than this sends and reads late.
BUSY_SHARE: Final = 0.9
# Whoever sends later than this, and by more than half of the latency, measures itself.
LATE_US: Final = 1000.0
LATE_SHARE: Final = 0.5
# Fewer answers in time than this share of the requests: they are piling up.
KEPT_SHARE: Final = 0.95


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """One load's figures; the names are those of the JSON report.

    Attributes:
        offered_per_s: Requests a second that were due; None in a closed loop.
        achieved_per_s: Answers a second that came while it was measured.
        latency_p50_us: Of the requests that were answered, from when each was due; NaN without any.
        refusal_p99_us: Of those that the server refused for overload, likewise.
        send_lag_p99_us: From when a request was due until it was sent.
        generator_cpu_share: The part of one CPU that the busiest process took.
        generator_limited: Whether the generator was the limit, not the server.
        percentiles_exact: False where memory was saved: then latencies are right to 0.1 %.
    """

    loop: str
    arrivals: str | None
    concurrency: int | None
    offered_per_s: float | None
    achieved_per_s: float
    rows_per_s: float
    measured_s: float
    requests: int
    answered: int
    errors: dict[str, int]
    error_share: float
    latency_mean_us: float
    latency_p50_us: float
    latency_p90_us: float
    latency_p99_us: float
    latency_p999_us: float
    latency_max_us: float
    refusal_p99_us: float
    send_lag_p50_us: float
    send_lag_p99_us: float
    send_lag_max_us: float
    generator_cpu_share: float
    generator_limited: bool
    percentiles_exact: bool

    @property
    def load(self) -> str:
        """The load in a word."""
        if self.loop == "open":
            return f"{self.offered_per_s:.6g}/s"
        return f"{self.concurrency} in flight"


def of(load: Load, tally: Tally, rows: int) -> Figures:
    """Return the figures of a tally; `rows` is how many each request has."""
    is_open = isinstance(load, Open)
    p50_us, p90_us, p99_us, p999_us = _micro(tally.latencies.percentiles_s((50, 90, 99, 99.9)))
    (refusal_p99_us,) = _micro(tally.refusals.percentiles_s((99,)))
    lag_p50_us, lag_p99_us = _micro(tally.lags.percentiles_s((50, 99)))
    achieved_per_s = tally.completed / tally.seconds if tally.seconds else 0.0
    cpu_share = max(tally.cpu_shares, default=0.0)
    # Without an answer there is no latency to compare with.
    late = is_open and lag_p99_us > max(LATE_US, LATE_SHARE * (p99_us if tally.answered else 0.0))
    return Figures(
        loop="open" if is_open else "closed",
        arrivals=load.arrivals.value if isinstance(load, Open) else None,
        concurrency=None if isinstance(load, Open) else load.concurrency,
        offered_per_s=load.rate if isinstance(load, Open) else None,
        achieved_per_s=achieved_per_s,
        rows_per_s=achieved_per_s * rows,
        measured_s=tally.seconds,
        requests=tally.requests,
        answered=tally.answered,
        errors=tally.errors,
        error_share=1 - tally.answered / tally.requests if tally.requests else 0.0,
        latency_mean_us=tally.latencies.mean_s * 1e6,
        latency_p50_us=p50_us,
        latency_p90_us=p90_us,
        latency_p99_us=p99_us,
        latency_p999_us=p999_us,
        latency_max_us=tally.latencies.longest_s * 1e6,
        refusal_p99_us=refusal_p99_us,
        send_lag_p50_us=lag_p50_us,
        send_lag_p99_us=lag_p99_us,
        send_lag_max_us=tally.lags.longest_s * 1e6,
        generator_cpu_share=cpu_share,
        generator_limited=late or cpu_share > BUSY_SHARE,
        percentiles_exact=tally.latencies.exact,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a rate must keep to count as held."""

    p99_us: float
    error_share: float

    def verdict(self, figures: Figures) -> Verdict:
        """Return whether the server held the load, as far as the generator made it."""
        # Written so that NaN, without any answer, is no success.
        quick = figures.latency_p99_us <= self.p99_us
        if quick and self._keeps_pace(figures) and figures.error_share <= self.error_share:
            return Verdict.HELD
        return Verdict.UNSENT if figures.generator_limited else Verdict.MISSED

    def _keeps_pace(self, figures: Figures) -> bool:
        # A queue that grows may still be within a wide limit. The last answers, within that limit,
        # may come when the time is over; and one request is not a whole rate.
        late = figures.requests * self.p99_us / 1e6 / (figures.measured_s or math.inf) + 1
        answers = figures.achieved_per_s * figures.measured_s
        return answers >= KEPT_SHARE * figures.requests - late


def _micro(seconds: list[float]) -> list[float]:
    return [value * 1e6 for value in seconds]
