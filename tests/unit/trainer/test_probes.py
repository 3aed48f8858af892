"""Tests of the rows on which an exported file is tried."""

from __future__ import annotations

import numpy as np
import pytest

from isotherm.trainer import probes
from isotherm.trainer.columns import Floats
from isotherm.trainer.errors import ExportError

X = np.random.default_rng(0).normal(5, 2, (40, 3))


def test_near_rows_are_one_all_golden_and_random_ones() -> None:
    """All of them within, or a little beyond, the table's ranges; the same for the same seed."""
    one, table, golden, random = probes.near(X, 1)

    assert (len(one), len(table)) == (1, 40)
    np.testing.assert_array_equal(random, probes.near(X, 1)[3])
    assert (random >= X.min(axis=0)).all()
    assert (random <= X.max(axis=0)).all()
    margin = 0.11 * np.ptp(X, axis=0)
    assert (golden >= X.min(axis=0) - margin).all()


def test_far_rows_leave_the_ranges_in_every_direction() -> None:
    """Ten ranges below, ten above, and both at once."""
    far = probes.far(X)
    span = np.ptp(X, axis=0)

    assert (far.min(axis=0) <= X.min(axis=0) - 9.9 * span).all()
    assert (far.max(axis=0) >= X.max(axis=0) + 9.9 * span).all()
    assert (far[2] > X.max(axis=0)).tolist() == [False, True, False]


def _mixing(x: Floats) -> Floats:
    return np.asarray(x - x.mean(axis=0))


def _dropping(x: Floats) -> Floats:
    return x[:1]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(_mixing, "depends on the rows beside it"), (_dropping, "expected a row for each")],
)
def test_a_model_that_mixes_rows_is_refused(answer: probes.Answer, expected: str) -> None:
    """Served in batches, a caller's answer would depend on the other callers."""
    with pytest.raises(ExportError, match=expected):
        probes.check_independent(answer, X, absolute=1e-6, relative=1e-6)


def test_a_model_that_answers_row_by_row_passes() -> None:
    """Also where it is not finite in every column."""
    probes.check_independent(lambda x: x * 2, X, absolute=0.0, relative=0.0)
