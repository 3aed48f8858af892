"""Rows, and the ranges that they lie in."""

from __future__ import annotations

import numpy as np

from isotherm.client.cli.model import Column, Model
from isotherm.client.cli.rows import Ranges


def test_values_outside_are_counted_over_all_batches():
    """The first of them is the example; a missing value is not outside."""
    ranges = Ranges(Model("m", (Column("a", "K", 0, 10), Column("b")), ("y",), None))

    ranges.add(np.array([[1.0, 99.0], [np.nan, 99.0]]))
    ranges.add(np.array([[11.0, -99.0], [5.0, 0.0]]))
    ranges.add(np.array([[-1.0, np.inf]]))

    assert list(ranges.notes()) == [
        "2 of 5 values of 'a' lie outside the training range 0 to 10 K, such as 11: the model "
        "extrapolates"
    ]
