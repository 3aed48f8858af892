"""One name for a value, whatever it comes as, and the histogram of its codes."""

from __future__ import annotations

from datetime import date, time
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.v1.categories import histogram, name_of


@pytest.mark.parametrize(
    ("value", "name"),
    [
        *(("Oslo", "Oslo"), (" Oslo", " Oslo"), ("3", "3"), (b"Oslo", "Oslo")),
        *(("München".encode(), "München"), (np.str_("Oslo"), "Oslo")),
        *((3, "3"), (3.0, "3"), (np.int8(3), "3"), (np.float32(3), "3"), (np.float64(3), "3")),
        *(
            (2.5, "2.5"),
            (np.float32(0.1), "0.1"),
            (0.1, "0.1"),
            (-4.0, "-4"),
            (1e20, "100000000000000000000"),
        ),
        *((np.float32(0.1).item(), "0.1"), (1 / 3, "0.33333334")),
        *((True, "True"), (np.False_, "False"), (Decimal("1.50"), "1.50")),
        *((date(2026, 1, 31), "2026-01-31"), (float("inf"), "inf"), (np.float32("-inf"), "-inf")),
    ],
    ids=repr,
)
def test_a_value_has_one_name(value, name):
    assert name_of(value) == name


@pytest.mark.parametrize(
    "value",
    [None, float("nan"), np.float32("nan"), np.float16("nan"), pd.NA, pd.NaT, "", "  ", b"", b" "],
    ids=repr,
)
def test_a_missing_cell_has_none(value):
    assert name_of(value) is None


@pytest.mark.parametrize(
    ("value", "datatype", "name"),
    [
        *(("04", "INT64", "4"), (" 4 ", "INT64", "4"), ("4.0", "UINT8", "4"), ("+4", "INT8", "4")),
        *(("x", "INT64", "x"), (True, "INT64", "1"), (np.False_, "FP32", "0"), ("", "INT64", None)),
        *(("9007199254740993", "INT64", "9007199254740993"), ("nan", "FP64", None)),
        *(("0.10", "FP64", "0.1"), (".5", "FP32", "0.5"), ("2e1", "FP64", "20"), (2, "FP64", "2")),
        *(("true", "BOOL", "True"), (" FALSE", "BOOL", "False"), ("maybe", "BOOL", "maybe")),
        *((1, "BOOL", "True"), (0.0, "BOOL", "False"), ("1", "BOOL", "True"), (2, "BOOL", "2")),
        *(("2026-01-31", "DATE", "2026-01-31"), ("late", "TIME", "late"), ("9:5", "TIME", "9:5")),
        *((time(10), "TIME", "10:00:00"), ("10:00", "TIME", "10:00:00")),
        *(("2026-01-31T10:00", "TIMESTAMP", "2026-01-31 10:00:00"),),
        *(("04", "BYTES", "04"), ("true", "BYTES", "true"), (b"04", "INT64", "4")),
        *((True, "BYTES", "True"), ("04", "", "04")),
    ],
    ids=repr,
)
def test_a_value_is_what_a_column_of_its_datatype_had(value, datatype, name):
    """A CSV file has no types: what was read as numbers once, comes as text from elsewhere."""
    assert name_of(value, datatype) == name


@given(st.lists(st.one_of(st.none(), st.integers(-(2**53), 2**53)), min_size=1))
def test_integers_have_their_names_in_a_column_with_gaps_as_well(values):
    """Where one package makes floats of them, and another does not."""
    frame = pd.DataFrame({"c": values})
    table = pa.table({"c": pa.array(values, pa.int64())})

    assert [name_of(v) for v in frame["c"].tolist()] == [
        name_of(v) for v in table.column("c").to_pylist()
    ]


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=300))
def test_bins_are_of_whole_codes_and_hold_every_row(counts):
    """Up to ten, none of them empty, from the first code to the last."""
    counts = sorted(counts, reverse=True)

    made = histogram(counts)

    edges = np.array(made.edges)
    assert len(made.counts) <= 10
    assert (edges[0], edges[-1]) == (-0.5, len(counts) - 0.5)
    assert (edges % 1 == 0.5).all()
    places = np.searchsorted(edges, np.arange(len(counts)))
    assert list(made.counts) == np.bincount(places, counts)[1:].astype(int).tolist()
    if len(counts) <= 10:
        assert list(made.counts) == counts


def test_frequent_values_have_bins_of_their_own():
    """The many rare ones share what is left."""
    made = histogram([500, 300, *[1] * 200])

    assert list(made.edges)[:3] == [-0.5, 0.5, 1.5]
    assert list(made.counts)[:2] == [500, 300]
    assert len(made.counts) == 10
    assert sum(made.counts) == 1000


@pytest.mark.parametrize("counts", [[], [7]])
def test_one_value_has_no_bins(counts):
    """There is nothing to be distributed over."""
    assert not histogram(counts).edges
