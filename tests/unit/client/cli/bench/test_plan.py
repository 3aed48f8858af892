"""The plan: options to loads, contradictions to sentences."""

from __future__ import annotations

import pytest

from isotherm.client.cli.bench.arrivals import Arrivals
from isotherm.client.cli.bench.figures import Limits
from isotherm.client.cli.bench.load import Closed, Open, Period
from isotherm.client.cli.bench.plan import Arrival, plan
from isotherm.client.cli.failure import Failure

_RAMP = Limits(p99_us=1000, error_share=0.0)


def _plan(*, duration=1.0, warmup=0.0, timeout=1.0, **options):
    return plan(
        period=Period(duration_s=duration, warmup_s=warmup),
        timeout_s=timeout,
        arrival=Arrival(arrivals=Arrivals.POISSON, seed=5),
        **options,
    )


def test_rates_are_open_loops_in_the_order_given():
    """Separated by commas, by further options, or both."""
    loads = _plan(rates=["100,2.5", "1e3"]).loads

    assert [Open(rate=r, arrivals=Arrivals.POISSON, seed=5) for r in (100, 2.5, 1000)] == [*loads]


def test_concurrencies_are_closed_loops():
    """Sixteen when nothing is said."""
    assert _plan(concurrencies=["1,8"]).loads == (Closed(concurrency=1), Closed(concurrency=8))
    assert _plan().loads == (Closed(concurrency=16),)


def test_a_ramp_starts_at_the_rate():
    """At a hundred a second when nothing is said."""
    assert _plan(ramp=_RAMP).start_rate == 100
    assert _plan(ramp=_RAMP, rates=["7"]).start_rate == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rates": ["fast"]}, "--rate: 'fast' is no number above 0"),
        ({"rates": ["1,,2"]}, "--rate: '' is no number above 0"),
        ({"rates": ["0"]}, "'0' is no number above 0"),
        ({"rates": ["inf"]}, "'inf' is no number above 0"),
        ({"concurrencies": ["1.5"]}, "--concurrency: 1.5 is no whole number"),
        ({"rates": ["1"], "concurrencies": ["1"]}, "give one of the two"),
        ({"ramp": _RAMP, "concurrencies": ["1"]}, "give one of the two"),
        ({"ramp": _RAMP, "rates": ["1,2"]}, "--ramp starts at one --rate, got 2"),
        ({"duration": 0}, "--duration is 0 and --warmup 0"),
        ({"timeout": 0}, "--timeout is 0, expected seconds"),
        ({"warmup": -1}, "--duration is 1 and --warmup -1"),
    ],
)
def test_options_that_make_no_plan_are_refused(options, message):
    """The option, and what was expected."""
    with pytest.raises(Failure, match=message):
        _plan(**options)
