"""Intervals on the scale that a target was learned on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.server.service.intervals import are_known, bounds

SCALES: dict[str, Any] = {"": np.positive, "log": np.log, "log1p": np.log1p, "sqrt": np.sqrt}
NAMES = [*SCALES]


@pytest.mark.parametrize("name", NAMES)
@given(
    prediction=st.lists(st.floats(0.01, 1000), min_size=1, max_size=5), half_width=st.floats(0, 3)
)
def test_bounds_lie_around_the_prediction_half_a_width_away_on_its_scale(
    name, prediction, half_width
):
    """Or as far as the scale goes."""
    table = np.array(prediction)[:, np.newaxis]
    lower, upper = bounds(table, np.array([half_width]), [name])

    there = SCALES[name]
    assert (lower <= table * (1 + 1e-9)).all()
    assert (upper >= table * (1 - 1e-9)).all()
    np.testing.assert_allclose(there(upper) - there(table), half_width, atol=1e-6)
    below = np.minimum(half_width, there(table)) if name == "sqrt" else half_width
    np.testing.assert_allclose(there(table) - there(lower), below, atol=1e-6)


def test_each_target_has_its_own_scale():
    lower, upper = bounds(np.array([[10.0, 16.0]]), np.array([1.0, 1.0]), ["", "sqrt"])

    assert lower.tolist() == [[9, 9]]
    assert upper.tolist() == [[11, 25]]


@pytest.mark.parametrize(
    ("name", "prediction", "expected"),
    [
        ("log", 0.0, [0, 0]),
        ("log", -5.0, [0, 0]),
        ("log1p", -5.0, [-1, -1]),
        ("sqrt", -5.0, [0, 1]),
        ("sqrt", 0.25, [0, 2.25]),
        ("log", 1e308, [1e308 / np.e, np.inf]),
    ],
)
def test_what_no_model_of_the_kind_predicts_has_bounds_all_the_same(name, prediction, expected):
    """Numbers, not NaN: a caller may report what it likes."""
    lower, upper = bounds(np.array([[prediction]]), np.array([1.0]), [name])

    np.testing.assert_allclose([lower.item(), upper.item()], expected)


def test_a_scale_of_a_newer_trainer_is_told_apart():
    assert are_known(NAMES)
    assert not are_known(["", "logit"])
