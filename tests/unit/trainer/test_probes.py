"""Tests of the rows on which an exported file is tried."""

from __future__ import annotations

import numpy as np
import pytest

from isotherm.trainer import probes
from isotherm.trainer.columns import Column, Floats
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


TOWN = Column(name="t", unit="", datatype="BYTES", categories=tuple("abc"), missing="unknown")
SIZE = Column(name="s", unit="", datatype="FP64", missing="mean")
MIXED = (TOWN, SIZE, Column(name="a", unit="", datatype="FP64"))
CODES = np.column_stack([np.arange(40) % 3, X[:, 1], X[:, 2]]).astype(np.float64)
CODES[::5, 1] = np.nan


def test_near_rows_of_categories_are_codes_unknown_ones_and_empty_cells() -> None:
    """A number that may be missing is so in some rows, another one in none."""
    *_, random = probes.near(CODES, 1, MIXED)

    towns, sizes, ages = random.T
    assert {*towns[~np.isnan(towns)]} == {-1.0, 0.0, 1.0, 2.0, 3.0}
    assert np.isnan(towns).any()
    assert np.isnan(sizes).any()
    assert np.isfinite(sizes).sum() > 100
    assert np.isfinite(ages).all()


def test_far_rows_of_categories_are_unknown_in_every_way() -> None:
    """Far below, far above, between two codes, and empty; what may not be missing is not."""
    towns, _, ages = probes.far(CODES, MIXED).T

    assert (towns.min(initial=0, where=~np.isnan(towns)), np.nanmax(towns)) == (-20, 22)
    assert 0.5 in towns
    assert np.isnan(towns).any()
    assert np.isfinite(ages).all()
    assert len(probes.far(CODES[:, 2:], MIXED[2:])) == len(probes.far(X)) == 5


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
