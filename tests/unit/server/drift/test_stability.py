"""The stability index and its threshold, against tables and against chance itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from isotherm.server.drift.stability import (
    FALSE_ALARMS,
    MIN_ROWS_A_BIN,
    MIN_TRAINING_ROWS,
    exceeds,
    psi,
    quantile,
    threshold,
)


@pytest.mark.parametrize(
    ("freedom", "above", "expected"),
    [
        # From printed tables of the chi-squared distribution.
        (1, 0.05, 3.841),
        (1, 0.001, 10.828),
        (2, 0.05, 5.991),
        (3, 0.01, 11.345),
        (4, 0.001, 18.467),
        (5, 0.05, 11.070),
        (9, 0.05, 16.919),
        (9, 0.001, 27.877),
        (9, 0.0001, 33.720),
        (10, 0.001, 29.588),
    ],
)
def test_quantiles_are_those_of_the_tables(freedom, above, expected):
    assert quantile(freedom, above) == pytest.approx(expected, abs=6e-4)


def test_two_degrees_are_an_exponential():
    """Far out in the tail too."""
    assert exceeds(2, 80.0) == pytest.approx(math.exp(-40.0), rel=1e-12)
    assert quantile(2, 1e-9) == pytest.approx(-2 * math.log(1e-9), rel=1e-9)


def test_one_degree_is_a_normal_deviate_s_square():
    assert exceeds(1, 25.0) == pytest.approx(math.erfc(5 / math.sqrt(2)), rel=1e-12)


def test_equal_histograms_have_no_index():
    counts = np.array([10.0, 20.0, 30.0])
    assert psi(counts, counts) == pytest.approx(0.0, abs=1e-12)
    assert psi(1000 * counts, counts) < 1e-3


def test_the_index_is_its_formula():
    """Sum of (p - q) ln(p / q), where no bin is small."""
    live, trained = np.array([5000.0, 5000.0]), np.array([8000.0, 2000.0])
    expected = (0.5 - 0.8) * math.log(0.5 / 0.8) + (0.5 - 0.2) * math.log(0.5 / 0.2)
    assert psi(live, trained) == pytest.approx(expected, rel=1e-3)


def test_an_empty_bin_has_an_index():
    assert 1 < psi(np.array([0.0, 100.0]), np.array([50.0, 50.0])) < 5


def test_the_threshold_falls_to_the_usual_mark_with_the_rows():
    thresholds = [threshold(10, rows, 10_000, 8) for rows in (100, 300, 1000, 10_000)]
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[0] > 0.4
    assert thresholds[-1] == 0.1


def test_more_columns_need_more_evidence():
    assert threshold(10, 200, 10_000, 64) > threshold(10, 200, 10_000, 1)


@pytest.mark.parametrize("live_rows", [10 * MIN_ROWS_A_BIN, 300, 2000])
@pytest.mark.parametrize("training_rows", [MIN_TRAINING_ROWS, 5000])
def test_chance_stays_below_the_threshold(live_rows, training_rows):
    """200,000 windows of ten bins without drift: at most the promised share, and what it allows."""
    random = np.random.default_rng(live_rows + training_rows)
    windows = 200_000
    shares = random.dirichlet(np.full(10, training_rows / 10), windows)
    live = random.multinomial(live_rows, shares) + 0.5
    p = live / live.sum(axis=1, keepdims=True)
    values = ((p - 0.1) * np.log(p / 0.1)).sum(axis=1)
    alarms = int((values > threshold(10, live_rows, training_rows, 1)).sum())

    # In the smallest windows the law is not yet exact, and chance has up to twice its share.
    assert windows * FALSE_ALARMS == pytest.approx(2)
    assert alarms <= 12
