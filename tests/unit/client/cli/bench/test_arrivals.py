"""Schedules: how many requests are due, when, and for whom."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from isotherm.client.cli.bench.arrivals import Arrivals, Share, offsets_s


def _all(arrivals, rate, span_s, processes, seed=0):
    return [
        list(offsets_s(arrivals, rate, span_s, Share(index, processes), seed))
        for index in range(processes)
    ]


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_constant_arrivals_are_evenly_spaced_over_all_processes(processes):
    """Together they are one schedule, without a gap or a double."""
    parts = _all(Arrivals.CONSTANT, 100, 2.5, processes)

    assert sorted(itertools.chain(*parts)) == [index / 100 for index in range(250)]


def test_a_schedule_longer_than_a_chunk_has_no_seam():
    """It is made piece by piece."""
    (offsets,) = _all(Arrivals.CONSTANT, 10_000, 2, 1)

    assert len(offsets) == 20_000
    np.testing.assert_allclose(np.diff(offsets), 1e-4)


def test_poisson_arrivals_have_the_rate_and_the_spread_of_a_poisson_process():
    """Gaps are exponential: mean and standard deviation are both 1/rate."""
    offsets = np.sort(list(itertools.chain(*_all(Arrivals.POISSON, 1000, 50, 2))))
    gaps = np.diff(offsets)

    assert len(offsets) == pytest.approx(50_000, abs=5 * 50_000**0.5)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)
    assert offsets[-1] < 50


def test_a_seed_gives_the_same_poisson_arrivals_again():
    """And no two processes have the same."""
    first, second = _all(Arrivals.POISSON, 100, 1, 2, seed=3)

    assert [first, second] == _all(Arrivals.POISSON, 100, 1, 2, seed=3)
    assert first != second
    assert [first] != _all(Arrivals.POISSON, 100, 1, 1, seed=4)


@pytest.mark.parametrize(("whole", "parts"), [(16, [8, 8]), (5, [2, 2, 1]), (1, [1, 0])])
def test_shares_add_up_to_the_whole(whole, parts):
    """Nothing is lost where it cannot be divided."""
    assert parts == [Share(index, len(parts)).of(whole) for index in range(len(parts))]
