"""Values of a category to codes, by the contract, from columns of every package."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm.client import InvalidInputError
from isotherm.client._category import Lookup, names, read
from isotherm.client._misfit import Misfit
from isotherm.client._table import arrange
from isotherm.v1.contract_pb2 import MISSING_UNKNOWN, Contract, Feature, Tensors

CITY = Feature(name="city", categories=["Oslo", "Paris", "Rome"], missing=MISSING_UNKNOWN)
VALUES = ["Rome", None, "Oslo", "Atlantis", "Paris", "", "Oslo"]
CODES = [2, math.nan, 0, -1, 1, math.nan, 0]


def _categorical(values):
    return pd.Series(pd.Categorical(values, categories=["", "Atlantis", "Rome", "Oslo", "Paris"]))


TEXTS = {
    "list": list,
    "tuple": tuple,
    "deque": deque,
    "objects": lambda values: np.array(values, np.object_),
    "column": lambda values: np.array(values, np.object_).reshape(-1, 1),
    "texts": lambda values: np.array([each or "" for each in values]),
    "bytes": lambda values: np.array([(each or "").encode() for each in values]),
    "masked": lambda values: np.ma.array(
        ["?" if each is None else each for each in values], mask=[each is None for each in values]
    ),
    "pandas": pd.Series,
    "pandas objects": lambda values: pd.Series(values, dtype=object),
    "pandas index": pd.Index,
    "pandas arrow": lambda values: pd.Series(values, dtype=pd.ArrowDtype(pa.string())),
    "pandas categories": _categorical,
    "pandas category index": lambda values: pd.CategoricalIndex(_categorical(values)),
    "polars": pl.Series,
    "polars categories": lambda values: pl.Series(values, dtype=pl.Categorical),
    "polars enum": lambda values: pl.Series(
        values, dtype=pl.Enum(["", "Paris", "Oslo", "Rome", "Atlantis"])
    ),
    "arrow": pa.array,
    "arrow chunks": lambda values: pa.chunked_array([values[:3], [], values[3:]], pa.string()),
    "arrow large": lambda values: pa.array(values, pa.large_string()),
    "arrow view": lambda values: pa.array(values, pa.string_view()),
    "arrow binary": lambda values: pa.array([None if v is None else v.encode() for v in values]),
    "arrow dictionary": lambda values: pa.array(values).dictionary_encode(),
    "arrow dictionaries": lambda values: pa.chunked_array(
        [pa.array(part, pa.string()).dictionary_encode() for part in (values[:4], values[4:])]
    ),
}
each_text = pytest.mark.parametrize("make", TEXTS.values(), ids=TEXTS)


@each_text
def test_values_become_their_places_in_the_contracts_list(make):
    """Unknown ones -1, missing ones NaN, whatever the package's own codes are."""
    codes = read("city", make(VALUES), Lookup(CITY))

    assert codes.dtype == np.float32
    np.testing.assert_array_equal(codes, np.array(CODES, np.float32))


@each_text
@settings(max_examples=15)
@given(values=st.lists(st.sampled_from([*VALUES]), max_size=8))
def test_every_package_gives_the_codes_of_the_values_one_by_one(make, values):
    """None at all included."""
    lookup = Lookup(CITY)

    np.testing.assert_array_equal(
        read("city", make(values), lookup), np.array([lookup[v] for v in values], np.float32)
    )


NUMBERS = Feature(name="floor", categories=["1", "0", "2", "True", "2.5"])


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        (np.array([0, 1, 7], np.int8), [1, 0, -1]),
        (np.array([0.0, 2.5, np.nan]), [1, 4, math.nan]),
        (np.array([0.0, 2.5], np.float32), [1, 4]),
        (np.array([True, False]), [3, -1]),
        (pd.Series([1, None, 2]), [0, math.nan, 2]),
        (pd.Series([1, None, 2], dtype="Int64"), [0, math.nan, 2]),
        (pd.Series([True, None]), [3, math.nan]),
        (pd.Series([2, 1]).astype("category"), [2, 0]),
        (pl.Series([1, None, 2]), [0, math.nan, 2]),
        (pl.Series([1.0, math.nan, 2.5]), [0, math.nan, 4]),
        (pl.Series([True, False, None]), [3, -1, math.nan]),
        (pa.array([1, None, 2]), [0, math.nan, 2]),
        (pa.array([2.5, math.nan, None]), [4, math.nan, math.nan]),
        (pa.array([True, None]), [3, math.nan]),
        (pa.nulls(2), [math.nan, math.nan]),
        ([1, "1", 1.0, b"1", True, np.int64(2), 2.5, pd.NA], [0, 0, 0, 0, 3, 2, 4, math.nan]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_numbers_go_by_their_digits_and_truth_by_its_name(values, codes):
    """As the trainer has named them."""
    np.testing.assert_array_equal(
        read("floor", values, Lookup(NUMBERS)), np.array(codes, np.float32)
    )


@pytest.mark.parametrize(
    ("feature", "values", "codes"),
    [
        (
            Feature(name="zip", datatype="INT64", categories=["1", "2"]),
            ["01", " 2", 1.0, True, "x", ""],
            [0, 1, 0, 0, -1, math.nan],
        ),
        (
            Feature(name="open", datatype="BOOL", categories=["True", "False"]),
            ["true", "FALSE", 1, 0, None, 2],
            [0, 1, 0, 1, math.nan, -1],
        ),
        (
            Feature(name="text", datatype="BYTES", categories=["01", "True"]),
            ["01", "1", 1, "true", True],
            [0, -1, -1, -1, 1],
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Feature) else "",
)
@pytest.mark.parametrize("make", [list, lambda values: np.array(values, np.object_)])
def test_values_are_read_as_the_training_table_had_them(feature, values, codes, make):
    """In a column that held numbers or truth, text is one of these."""
    np.testing.assert_array_equal(
        read(feature.name, make(values), Lookup(feature)), np.array(codes, np.float32)
    )


@pytest.mark.parametrize("value", VALUES)
def test_a_scalar_has_a_code_as_well(value):
    """It stands for each row of a dict of columns."""
    codes = read("city", value, Lookup(CITY))

    assert codes.shape == ()
    np.testing.assert_array_equal(codes, np.float32(Lookup(CITY)[value]))


@pytest.mark.parametrize(
    "make",
    [list, pd.Series, lambda v: pa.array([["x"]]), pl.Series],
    ids=["list", "pandas", "arrow", "polars"],
)
def test_what_is_no_value_is_named_by_column(make):
    """A list in a cell is a mistake, not an unknown value."""
    with pytest.raises(Misfit, match="column 'city' is a category, row 0 has a"):
        read("city", make([["Oslo"]]), Lookup(CITY))


def test_a_matrix_is_no_column():
    with pytest.raises(Misfit, match=r"shape \(1, 2\), expected one value a row"):
        read("city", np.array([["a", "b"]]), Lookup(CITY))


@each_text
def test_an_unknown_value_can_be_refused(make):
    """With its row, itself, and what there is."""
    with pytest.raises(Misfit) as caught:
        read("city", make(VALUES), Lookup(CITY, refuse_unknown=True))

    assert str(caught.value) == (
        "column 'city' has 'Atlantis' in row 3, which the model does not know, expected one of "
        "'Oslo', 'Paris', 'Rome'"
    )


def test_names_are_what_a_person_reads():
    """Of whatever package, None for a missing cell."""
    assert names(pa.array([1.0, None])) == ["1", None]
    assert names(["", b"x", True]) == [None, "x", "True"]


CONTRACT = Contract(
    features=[CITY, Feature(name="km"), NUMBERS], tensors=Tensors(input="x"), schema_version=1
)
ROWS: list[dict[str, Any]] = [
    {"km": 1.5, "city": "Paris", "floor": 2},
    {"km": 3, "city": None, "floor": "1"},
    {"km": 4, "city": "Atlantis", "floor": 9},
]
MATRIX = [[1, 1.5, 2], [math.nan, 3, 0], [-1, 4, -1]]


@pytest.mark.parametrize(
    "table",
    [
        ROWS,
        {name: [row[name] for row in ROWS] for name in ROWS[0]},
        pd.DataFrame(ROWS),
        pl.DataFrame({"city": ["Paris", None, "Atlantis"], "km": [1.5, 3, 4], "floor": [2, 1, 9]}),
        pa.table({"city": ["Paris", None, "Atlantis"], "km": [1.5, 3, 4], "floor": [2, 1, 9]}),
    ],
    ids=["rows", "mapping", "pandas", "polars", "arrow"],
)
def test_a_table_has_its_categories_among_its_numbers(table):
    """In the contract's order."""
    np.testing.assert_array_equal(arrange(CONTRACT, table, model="m"), MATRIX)


def test_a_scalar_category_stands_for_each_row():
    arranged = arrange(CONTRACT, {"city": "Rome", "km": [1, 2], "floor": 1}, model="m")

    assert arranged.tolist() == [[2, 1, 0], [2, 2, 0]]


def test_no_rows_have_no_codes():
    assert arrange(CONTRACT, [], model="m").shape == (0, 3)
    assert arrange(CONTRACT, pd.DataFrame(ROWS).iloc[:0], model="m").shape == (0, 3)


def test_text_where_the_contract_has_a_number_is_still_refused():
    """Only what the contract lists is a category."""
    with pytest.raises(InvalidInputError, match="column 'km' must hold numbers, row 1 has 'far'"):
        arrange(CONTRACT, {"city": "Rome", "km": [1, "far"], "floor": 1}, model="m")
