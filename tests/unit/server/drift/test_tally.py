"""Counting rows: each value in its bin, its range, its moments, or among what is no number."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from isotherm.server.drift import tally
from isotherm.server.drift.reference import Column, Reference
from isotherm.server.drift.tally import Tally


def reference(*columns: Column) -> Reference:
    """Return a reference of these columns."""
    return Reference(name="m", version=1, columns=columns)


def column(name: str = "a", **known) -> Column:
    """Return a feature that was trained on 0 to 3, a third of it in each of three bins."""
    values: dict[str, Any] = {
        "minimum": 0.0,
        "maximum": 3.0,
        "mean": 1.5,
        "standard_deviation": 0.5,
        "edges": (0.0, 1.0, 2.0, 3.0),
        "counts": (10, 10, 10),
    }
    return Column(kind="feature", name=name, **(values | known))


def counted(table, *columns: Column) -> Tally:
    """Return the tally of rows."""
    made = Tally(reference(*columns))
    made.add(np.array(table, np.float32))
    return made


def bins(made: Tally, index: int = 0) -> list[int]:
    """Return a column's bins."""
    return [int(count) for count in made.totals[tally.BINS :, index]]


def test_a_bin_holds_its_upper_edge():
    """(low, high], as the contract says; what is outside belongs to the outermost bins."""
    made = counted([[value] for value in (-5, 0, 0.5, 1, 1.01, 2, 2.5, 3, 99)], column())

    assert bins(made) == [4, 2, 3]
    assert made.totals[tally.OUTSIDE].tolist() == [2]
    assert made.totals[tally.ROWS].tolist() == made.totals[tally.FINITE].tolist() == [9]


def test_bins_agree_with_a_search_in_the_edges():
    """Many rows, several columns, of which one has fewer bins and one has none."""
    random = np.random.default_rng(0)
    table = random.normal(1.5, 1, (5000, 3)).astype(np.float32)
    two = column("b", edges=(0.0, 1.5, 3.0), counts=(5, 5))
    none = column("c", edges=(), counts=())
    made = counted(table, column(), two, none)

    for index, edges in ((0, [1.0, 2.0]), (1, [1.5])):
        places = np.searchsorted(edges, table[:, index])
        assert bins(made, index)[: len(edges) + 1] == np.bincount(places).tolist()
    assert made.totals[tally.FINITE].tolist() == [5000] * 3


def test_nan_and_infinity_are_counted_apart():
    """They are in no bin, outside no range and in no mean, and other columns do not suffer."""
    nan, inf = float("nan"), float("inf")
    made = counted([[nan, 1], [inf, 1], [-inf, 1], [2.5, nan]], column(), column("b"))

    assert made.totals[tally.MISSING].tolist() == [1, 1]
    assert made.totals[tally.INFINITE].tolist() == [2, 0]
    assert made.totals[tally.FINITE].tolist() == [1, 3]
    assert made.totals[tally.OUTSIDE].tolist() == [0, 0]
    assert bins(made, 0) == [0, 0, 1]
    assert bins(made, 1) == [3, 0, 0]
    assert made.totals[tally.SUM].tolist() == [2.0, -3.0]


def test_values_of_the_training_are_in_its_bins_and_range_as_single_precision_has_them():
    """0.1 is greater in single precision than in double: it must not leave its bin for that."""
    made = counted(
        [[0.1], [0.7]],
        column(minimum=0.1, maximum=0.7, edges=(0.0, 0.1, 0.7), counts=(1, 1)),
    )

    assert float(np.float32(0.1)) > 0.1
    assert bins(made) == [1, 1]
    assert made.totals[tally.OUTSIDE].tolist() == [0]


def test_moments_are_in_the_training_s_deviations():
    made = counted([[1.5], [2.0], [1.0], [2.5]], column())

    assert made.totals[tally.SUM].tolist() == [2.0]
    assert made.totals[tally.SQUARES].tolist() == [6.0]


def test_one_enormous_value_does_not_drown_the_others():
    """It counts as one that is a hundred deviations away."""
    made = counted([[1e38], [1.5], [-1e38]], column())

    assert made.totals[tally.SUM].tolist() == [0.0]
    assert made.totals[tally.SQUARES].tolist() == [2e4]


@pytest.mark.parametrize("cut", [1, 1000, 1024, 1025, 3000])
def test_it_does_not_matter_how_rows_are_dealt(cut):
    """In one piece or in two."""
    table = np.random.default_rng(1).normal(1.5, 1, (4000, 2)).astype(np.float32)
    table[7, 1] = np.nan
    whole, parts = (Tally(reference(column(), column("b"))) for _ in range(2))
    whole.add(table)
    parts.add(table[:cut])
    parts.add(table[cut:])

    np.testing.assert_allclose(whole.totals, parts.totals, rtol=1e-12)


def test_a_column_of_which_nothing_is_known_is_counted():
    made = counted([[5.0], [float("nan")]], Column(kind="prediction", name="y"))

    assert made.totals[:, 0].tolist() == [2, 1, 0, 0, 1, 5, 25]


def test_a_reference_survives_its_way_to_the_supervisor():
    sent = reference(column(), Column(kind="prediction", name="y"))

    assert Reference.from_json(sent.to_json()) == sent
    assert (sent.features, sent.predictions) == (1, 1)
