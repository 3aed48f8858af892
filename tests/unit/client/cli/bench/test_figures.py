"""Figures: what a tally comes to, and who was the limit."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest

from isotherm.client.cli.bench import figures
from isotherm.client.cli.bench.figures import Limits
from isotherm.client.cli.bench.load import Closed, Open
from isotherm.client.cli.bench.ramp import Verdict
from isotherm.client.cli.bench.samples import Samples
from isotherm.client.cli.bench.tally import Tally, merge

_LIMITS = Limits(p99_us=10_000, error_share=0.01)


def _tally(*, latency_s=0.001, lag_s=0.0001, answered=100, completed=None, cpu=0.3, **errors):
    return Tally(
        statuses=Counter(OK=answered, **errors),
        latencies=Samples([latency_s] * answered),
        lags=Samples([lag_s] * (answered + sum(errors.values()))),
        completed=answered if completed is None else completed,
        seconds=2.0,
        cpu_shares=[cpu, 0.1],
    )


def _of(rate=50.0, **changes: Any):
    return figures.of(Open(rate=rate), _tally(**changes), 4)


def test_rates_and_percentiles_have_their_units():
    """Answers a second, rows a second, microseconds."""
    found = _of(UNAVAILABLE=25)

    assert (found.offered_per_s, found.achieved_per_s, found.rows_per_s) == (50, 50, 200)
    assert found.latency_p50_us == pytest.approx(1000)
    assert found.latency_p999_us == found.latency_max_us == pytest.approx(1000)
    assert found.send_lag_p99_us == pytest.approx(100)
    assert (found.requests, found.answered, found.errors) == (125, 100, {"UNAVAILABLE": 25})
    assert found.error_share == pytest.approx(0.2)
    assert found.generator_cpu_share == 0.3


def test_a_closed_loop_offers_no_rate():
    """Its rate is the server's."""
    found = figures.of(Closed(concurrency=8), _tally(lag_s=1.0), 1)

    assert (found.loop, found.concurrency, found.offered_per_s) == ("closed", 8, None)
    assert (found.load, _of().load) == ("8 in flight", "50/s")
    assert not found.generator_limited


def test_without_an_answer_there_is_no_latency():
    """NaN, and no exception."""
    found = _of(answered=0, DEADLINE_EXCEEDED=10)

    assert math.isnan(found.latency_p99_us)
    assert math.isnan(found.latency_max_us)
    assert found.error_share == 1


@pytest.mark.parametrize(
    ("changes", "limited"),
    [
        ({}, False),
        ({"cpu": 0.95}, True),
        # Late by much, and most of the latency.
        ({"lag_s": 0.02, "latency_s": 0.025}, True),
        # Late, but the server took far longer.
        ({"lag_s": 0.02, "latency_s": 0.5}, False),
        # Most of the latency, but little.
        ({"lag_s": 0.0005, "latency_s": 0.0006}, False),
    ],
)
def test_a_generator_that_was_the_limit_is_told(changes, limited):
    """By its CPU, or by what it sent late."""
    assert _of(**changes).generator_limited is limited


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, Verdict.HELD),
        ({"latency_s": 0.02}, Verdict.MISSED),
        ({"UNAVAILABLE": 1}, Verdict.HELD),
        ({"UNAVAILABLE": 2}, Verdict.MISSED),
        ({"answered": 0, "UNAVAILABLE": 9}, Verdict.MISSED),
        ({"latency_s": 0.02, "cpu": 0.99}, Verdict.UNSENT),
        # The limits were kept although the generator was busy: that is an answer.
        ({"cpu": 0.99}, Verdict.HELD),
        # Five at the end may be under way; more of them are a queue that grows.
        ({"completed": 94}, Verdict.HELD),
        ({"completed": 92}, Verdict.MISSED),
    ],
)
def test_a_rate_is_held_within_the_limits(changes, verdict):
    """By p99, by errors, and by answers that keep pace."""
    assert _LIMITS.verdict(_of(**changes)) is verdict


def test_tallies_of_several_processes_add_up():
    """Counts, samples and CPU shares; the time is the longest."""
    other = _tally(latency_s=0.003, answered=300, cpu=0.5, INTERNAL=2)
    other.seconds = 1.5

    whole = merge([_tally(INTERNAL=1), other])

    assert whole.statuses == {"OK": 400, "INTERNAL": 3}
    assert (whole.requests, whole.answered, whole.errors) == (403, 400, {"INTERNAL": 3})
    assert whole.latencies.percentiles_s((25, 26)) == [0.001, 0.003]
    assert (whole.completed, whole.seconds) == (400, 2.0)
    assert whole.cpu_shares == [0.3, 0.1, 0.5, 0.1]
