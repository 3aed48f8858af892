"""The search for the highest rate, on servers that are functions."""

from __future__ import annotations

import pytest

from isotherm.client.cli.bench.ramp import Ended, Found, Verdict, search


class _Server:
    """Holds what is at most `capacity`; beyond `reach` the generator gives up."""

    def __init__(self, capacity, reach=float("inf")):
        self.capacity = capacity
        self.reach = reach
        self.rates = []

    def __call__(self, rate):
        self.rates.append(rate)
        if rate > self.reach:
            return Verdict.UNSENT
        return Verdict.HELD if rate <= self.capacity else Verdict.MISSED


@pytest.mark.parametrize("capacity", [100, 101, 777, 12_345])
@pytest.mark.parametrize("start", [50, 100])
def test_the_highest_rate_is_found_to_the_precision(capacity, start):
    """It is held, and little more is not."""
    found = search(_Server(capacity), start, 0.05)

    assert found.ended is Ended.FOUND
    assert found.rate is not None
    assert found.rate <= capacity <= found.rate * 1.05


def test_rates_grow_geometrically_and_then_close_in():
    """Few steps; a missed rate is tried twice."""
    server = _Server(700)

    search(server, 100, 0.15)

    assert server.rates == [100, 200, 400, 800, 800, 600, 700]


def test_a_start_that_is_too_high_goes_down():
    """The answer is below the start."""
    found = search(_Server(10), 1000, 0.05)

    assert found.rate is not None
    assert found.rate <= 10 <= found.rate * 1.05


def test_a_server_that_holds_nothing_is_told():
    """One request a second is the least."""
    assert search(_Server(0), 4, 0.05) == Found(None, Ended.NOTHING_HELD)


def test_where_the_generator_is_the_limit_the_search_ends():
    """What was held is a lower bound."""
    server = _Server(10_000, reach=500)

    assert search(server, 100, 0.05) == Found(400, Ended.GENERATOR)
    assert server.rates == [100, 200, 400, 800, 800]


def test_a_hiccup_does_not_end_the_search():
    """One bad measurement of a rate that is held otherwise."""
    verdicts = iter([Verdict.HELD, Verdict.UNSENT, Verdict.HELD, Verdict.MISSED, Verdict.MISSED])

    found = search(lambda _: next(verdicts, Verdict.HELD), 100, 0.6)

    assert found == Found(300, Ended.FOUND)


def test_an_interruption_ends_the_search_with_what_was_held():
    """Ctrl-C."""
    verdicts = iter([Verdict.HELD, Verdict.INTERRUPTED])

    assert search(lambda _: next(verdicts), 100, 0.05) == Found(100, Ended.INTERRUPTED)
