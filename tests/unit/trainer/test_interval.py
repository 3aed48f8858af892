"""Tests of the prediction interval."""

from __future__ import annotations

import numpy as np
import pytest

from isotherm.trainer.interval import half_width


def test_the_half_width_is_the_conformal_rank_of_the_residuals() -> None:
    """Of 19 residuals, coverage 0.9 takes rank ceil(20 * 0.9) = 18."""
    residuals = np.arange(-19.0, 0.0).reshape(-1, 1)

    widths, coverage = half_width(residuals, 0.9)

    assert (widths.tolist(), coverage) == ([18.0], 0.9)


def test_few_rows_lower_the_coverage_instead_of_promising_it() -> None:
    """Four residuals support 4/5 at most, with the widest of them."""
    widths, coverage = half_width(np.array([[0.5], [-3.0], [1.0], [2.0]]), 0.9)

    assert (widths.tolist(), coverage) == ([3.0], 0.8)


def test_each_target_has_its_own_width() -> None:
    """Columns are ranked apart."""
    widths, _ = half_width(np.array([[1.0, 10.0], [2.0, 5.0], [3.0, 1.0]]), 0.5)

    assert widths.tolist() == [2.0, 5.0]


def test_new_rows_fall_inside_as_often_as_promised() -> None:
    """Over 2000 sets of 30 normal residuals, the next one is covered 90 % of the time."""
    draws = np.random.default_rng(0).normal(size=(2000, 31))

    covered = [abs(row[-1]) <= half_width(row[:-1, np.newaxis], 0.9)[0][0] for row in draws]

    assert np.mean(covered) == pytest.approx(0.9, abs=0.02)
