"""Tests of the measured coverage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from isotherm.trainer import coverage, fit, interval
from isotherm.trainer.data import Floats

ROWS = 60
COUNTS = np.random.default_rng(3).integers(1, 9, ROWS).astype(np.float64)
# Numbered by their first rows, as a column of groups is.
GROUPS = np.r_[np.arange(8), np.random.default_rng(3).integers(0, 8, ROWS - 8)]


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


def test_coverage_by_time_is_measured_from_enough_earlier_rows_only() -> None:
    """Blocks whose forerunners cannot support the coverage are not tried; of too few, none is."""
    rng = np.random.default_rng(0)
    residuals = rng.normal(size=(500, 1))
    one_by_one = np.arange(500)

    assert coverage.forward(residuals, one_by_one, 0.9) == pytest.approx(0.9, abs=0.03)
    assert coverage.forward(residuals[:16], one_by_one[:16], 0.9) is None
    assert coverage.forward(residuals, one_by_one * 0, 0.9) is None


def test_coverage_by_group_leaves_whole_groups_out() -> None:
    """A model that has seen a group knows it: measured with its rows on both sides, all is well."""
    keys = np.repeat(np.arange(20), 5)
    level = np.random.default_rng(0).normal(size=20)[keys, np.newaxis]

    def remembers(left_out: NDArray[np.bool_]) -> Floats:
        answers = np.zeros((len(left_out), 100, 1))
        for one, answer in zip(left_out, answers, strict=True):
            known = np.isin(keys, keys[~one])
            answer[known] = level[known]
        return answers

    blind = coverage.measure(remembers, level, 0.5, seed=0)
    honest = coverage.measure(remembers, level, 0.5, seed=0, keys=keys)

    assert blind == 1.0
    assert honest == pytest.approx(0.5, abs=0.2)
    assert coverage.measure(remembers, level, 0.5, seed=0, keys=keys // 7) is None


@pytest.mark.parametrize(
    ("rows", "known"),
    [
        ({"transforms": {"y": "log"}}, {"learned": np.log}),
        ({"weight": COUNTS}, {"weights": COUNTS}),
        ({"group": GROUPS}, {"keys": GROUPS}),
    ],
)
def test_the_coverage_of_a_training_knows_its_rows(rows: Any, known: dict[str, Any]) -> None:
    """Their scale, weights and groups: that of the mean is computed here once more."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=ROWS)
    level = rng.normal(size=8)[GROUPS] + rng.normal(scale=COUNTS / 9)
    y = np.exp(level).astype(np.float32).astype(np.float64)[:, np.newaxis]
    learn, back = (np.log, np.exp) if "learned" in known else (np.asarray, np.asarray)
    counts = known.get("weights", np.ones(ROWS))

    def means(left_out: NDArray[np.bool_]) -> Floats:
        each = [back(np.average(learn(y[~one, 0]), weights=counts[~one])) for one in left_out]
        return np.stack([np.full((ROWS, 1), mean) for mean in each])

    fitted = fit(None, x, y, choose="mean", epochs=1, weight_decay=0.3, **rows).fitted

    expected = coverage.measure(means, y, 0.9, 0, **known)
    assert fitted.measured_coverage == pytest.approx(expected)
    assert expected != coverage.measure(means, y, 0.9, 0)


def test_groups_are_left_out_in_pairs_with_their_weights() -> None:
    """Each width from models that saw neither the group that is tried nor that of the residual."""
    y = np.random.default_rng(0).normal(scale=COUNTS)
    groups, outside = range(8), np.zeros(ROWS, dtype=np.bool_)

    def mean(*without: int) -> float:
        seen = ~np.isin(GROUPS, without)
        return float(np.average(y[seen], weights=COUNTS[seen]))

    for tested in groups:
        others = [other for other in groups if other != tested]
        errors = np.concatenate([np.abs(y[GROUPS == o] - mean(tested, o)) for o in others])
        counts = np.concatenate([COUNTS[GROUPS == o] for o in others])
        (width,), _ = interval.half_width(errors[:, np.newaxis], 0.8, counts)
        outside |= (GROUPS == tested) & (np.abs(y - mean(tested)) > width)

    def refit(left_out: NDArray[np.bool_]) -> Floats:
        means = [mean(*np.unique(GROUPS[one])) for one in left_out]
        return np.stack([np.full((ROWS, 1), each) for each in means])

    measured = coverage.measure(refit, y[:, np.newaxis], 0.8, 0, weights=COUNTS, keys=GROUPS)
    assert measured == pytest.approx(np.average(~outside, weights=COUNTS))
