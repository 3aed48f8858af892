"""Tests of the measured coverage."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from isotherm.trainer import coverage
from isotherm.trainer.data import Floats


def test_no_row_is_judged_by_a_fit_or_a_width_that_saw_it() -> None:
    """A model that repeats what it has seen would look perfect, and does not."""
    y = np.random.default_rng(0).normal(size=(40, 1))

    def parrot(left_out: NDArray[np.bool_]) -> Floats:
        return np.where(left_out[:, :, np.newaxis], 0.0, y)

    measured = coverage.measure(parrot, y, 0.9, seed=0)

    assert measured == pytest.approx(0.9, abs=0.08)


def test_a_model_that_needs_every_row_is_found_out() -> None:
    """Its errors grow with what is left out; the measure sees the widths of poorer models."""
    y = np.random.default_rng(0).normal(size=(40, 1))

    def fragile(left_out: NDArray[np.bool_]) -> Floats:
        return np.asarray(y + 2.0 * left_out.sum(axis=1)[:, np.newaxis, np.newaxis])

    assert coverage.measure(fragile, y, 0.9, seed=0) == 1.0


@pytest.mark.parametrize("rows", [7, 1001])
def test_where_it_would_say_little_it_is_not_measured(rows: int) -> None:
    """Too few rows to leave two groups out, or so many that it is known without."""
    y = np.zeros((rows, 1))

    assert coverage.measure(lambda left_out: np.zeros((len(left_out), rows, 1)), y, 0.9, 0) is None
