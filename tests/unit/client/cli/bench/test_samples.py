"""Durations: percentiles exact while they are few, near enough when they are many."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from isotherm.client.cli.bench.samples import WIDTH, Samples, merged

_PERCENTS = (0, 50, 90, 99, 99.9, 100)


def _latencies(count, seed=0):
    return np.random.default_rng(seed).lognormal(-7, 1, count)


def test_percentiles_are_samples_that_were_seen():
    """No value in between."""
    samples = Samples([0.4, 0.1, 0.3, 0.2])

    assert samples.percentiles_s((25, 50, 75, 100)) == [0.1, 0.2, 0.3, 0.4]
    assert samples.percentiles_s((26, 99)) == [0.2, 0.4]
    assert samples.mean_s == pytest.approx(0.25)
    assert samples.longest_s == 0.4


def test_nothing_has_no_percentile():
    """NaN, which is null in JSON."""
    samples = Samples()

    assert len(samples) == 0
    assert all(map(math.isnan, [*samples.percentiles_s((50, 99)), samples.mean_s]))
    assert math.isnan(samples.longest_s)


def test_beyond_its_room_percentiles_are_right_to_a_bin():
    """Count, mean and the longest stay exact."""
    values = _latencies(20_000)
    few, many = Samples(values), Samples(values, exact=1000)

    assert (few.exact, many.exact) == (True, False)
    assert len(many) == len(few) == 20_000
    assert many.mean_s == pytest.approx(few.mean_s)
    assert many.longest_s == few.longest_s == values.max()
    np.testing.assert_allclose(
        many.percentiles_s(_PERCENTS), few.percentiles_s(_PERCENTS), rtol=WIDTH - 1 + 1e-9
    )


def test_memory_does_not_grow_with_the_number_of_samples():
    """Hours at full rate take what the first minute took."""
    many = Samples(_latencies(50_000), exact=100)
    more = Samples(_latencies(200_000), exact=100)

    assert len(pickle.dumps(more)) < len(pickle.dumps(many)) + 64 * 1024


def test_what_no_bin_has_an_edge_for_goes_into_the_outermost():
    """Zero, and more than a day."""
    samples = Samples([0.0, 1e-9, 1e6], exact=1)

    assert len(samples) == 3
    assert samples.percentiles_s((100,))[0] == pytest.approx(86_400, rel=1e-3)
    assert samples.longest_s == 1e6


def test_exact_parts_merge_exactly():
    """As if one process had measured everything."""
    values = _latencies(3000)
    whole = merged([Samples(values[:1000]), Samples(), Samples(values[1000:])])

    assert whole.exact
    assert whole.percentiles_s(_PERCENTS) == Samples(values).percentiles_s(_PERCENTS)


@pytest.mark.parametrize("rooms", [(10, 5000), (5000, 10), (10, 10)])
def test_parts_with_bins_merge_into_bins(rooms):
    """In either order, and nothing is counted twice."""
    values = _latencies(4000)
    halves = [
        Samples(half, exact=room) for half, room in zip(np.split(values, 2), rooms, strict=True)
    ]

    whole = merged(halves)

    assert not whole.exact
    assert len(whole) == 4000
    assert whole.longest_s == values.max()
    assert whole.mean_s == pytest.approx(values.mean())
    np.testing.assert_allclose(
        whole.percentiles_s(_PERCENTS), Samples(values).percentiles_s(_PERCENTS), rtol=WIDTH - 1
    )


def test_samples_travel_between_processes():
    """Pickled and back, also with bins."""
    samples = Samples(_latencies(100), exact=10)

    received = pickle.loads(pickle.dumps(samples))  # noqa: S301  our own

    assert received.percentiles_s(_PERCENTS) == samples.percentiles_s(_PERCENTS)
