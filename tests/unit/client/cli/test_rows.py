"""Rows, and the ranges that they lie in."""

from __future__ import annotations

import numpy as np
import pytest

from isotherm.client._category import Lookup
from isotherm.client.cli.model import Column, Model
from isotherm.client.cli.rows import Batch, Ranges, cell
from isotherm.v1.contract_pb2 import Feature


def _batch(rows, texts=()):
    return Batch(np.array(rows), "rows.csv", "line", range(len(rows)), texts=dict(texts))


def test_values_outside_are_counted_over_all_batches():
    """The first of them is the example; a missing value is not outside."""
    ranges = Ranges(Model("m", (Column("a", "K", 0, 10), Column("b")), ("y",), None))

    ranges.add(_batch([[1.0, 99.0], [np.nan, 99.0]]))
    ranges.add(_batch([[11.0, -99.0], [5.0, 0.0]]))
    ranges.add(_batch([[-1.0, np.inf]]))

    assert list(ranges.notes()) == [
        "2 of 5 values of 'a' lie outside the training range 0 to 10 K, such as 11: the model "
        "extrapolates"
    ]


@pytest.mark.parametrize(
    ("text", "found"), [("Oslo", "Oslo"), (" 04 ", " 04 "), ("", None), ("  ", None)]
)
def test_a_value_of_a_category_stays_as_it_is_written(text, found):
    """What it stands for is looked up where codes are made of it."""
    assert cell(Column("c", lookup=Lookup(Feature(categories=["4"]))), text, "here") == found
