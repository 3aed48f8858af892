"""One column's numbers, whatever it comes as."""

from __future__ import annotations

import math
from datetime import date
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from isotherm.client._column import read
from isotherm.client._misfit import Misfit

NAN = math.nan


def _kind(column: object) -> str:
    # What an object of Arrow's shows of itself has its address in it, which no two processes share.
    return type(column).__name__


def _dictionary(*values):
    return pa.array(values, pa.float64()).dictionary_encode()


@pytest.mark.parametrize(
    ("column", "dtype", "expected"),
    [
        ([1, 2], np.int64, [1, 2]),
        ((1.5, 2), np.float64, [1.5, 2]),
        ([True, False], np.bool_, [1, 0]),
        (range(2), np.int64, [0, 1]),
        (np.array([1, 2], np.int8), np.int8, [1, 2]),
        (np.ma.masked_array([1, 2], dtype=np.int8), np.int8, [1, 2]),
        (np.array([[1.5], [2.5]], np.float32), np.float32, [1.5, 2.5]),
        (pd.Series([1, 2], dtype="int16"), np.int16, [1, 2]),
        (pd.Series([1, 2], dtype="Int16"), np.int16, [1, 2]),
        (pd.Series([1, 2], dtype="category"), np.int64, [1, 2]),
        (pd.Series([0, 2.5], dtype="Sparse[float64]"), np.float64, [0, 2.5]),
        (pd.Index([1, 2]), np.int64, [1, 2]),
        (pl.Series([1, 2], dtype=pl.UInt8), np.uint8, [1, 2]),
        (pl.Series([True, False]), np.bool_, [1, 0]),
        (pl.Series([1, 2], dtype=pl.Int128), np.int64, [1, 2]),
        (pa.array([1, 2], pa.int32()), np.int32, [1, 2]),
        (pa.array([True, False]), np.bool_, [1, 0]),
        (pa.chunked_array([[1.5], [2.5]], pa.float32()), np.float32, [1.5, 2.5]),
        (_dictionary(2.5, 1.5, 2.5), np.float64, [2.5, 1.5, 2.5]),
    ],
)
def test_numbers_keep_their_type(column, dtype, expected):
    """What has no nulls is not widened."""
    array = read("a", column)

    assert array.dtype == dtype
    assert array.tolist() == expected


@pytest.mark.parametrize(
    "column",
    [
        [2, None, 1],
        [2, pd.NA, 1],
        [Decimal(2), NAN, 1],
        [np.float32(2), None, np.True_],
        np.array([2, None, 1.0], object),
        np.ma.masked_array([2, 7, 1], mask=[False, True, False]),
        pd.Series([2, None, 1], dtype="Int64"),
        pd.Series([2, None, 1], dtype="Float32"),
        pd.Series([2, None, 1], dtype="int64[pyarrow]"),
        pd.Series([2, None, 1], dtype="category"),
        pd.Series([2, pd.NA, Decimal(1)], dtype=object),
        pl.Series([2, None, 1], dtype=pl.Int8),
        pl.Series([2, None, 1], dtype=pl.Float32),
        pl.Series([2, None, 1], dtype=pl.Int128),
        pl.Series([Decimal(2), None, Decimal(1)]),
        pa.array([2, None, 1]),
        pa.array([Decimal(2), None, Decimal(1)]),
        _dictionary(2, None, 1),
        # Each chunk has a dictionary of its own.
        pa.chunked_array([_dictionary(2, None), _dictionary(1)]),
    ],
    ids=_kind,
)
def test_nulls_become_nan(column):
    """Every package has its own word for what is not there."""
    np.testing.assert_array_equal(read("a", column), [2, NAN, 1])


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([True, None], dtype="boolean"),
        pl.Series([True, None]),
        pa.array([True, None]),
        [True, None],
    ],
    ids=_kind,
)
def test_booleans_with_nulls_become_floats(column):
    """A boolean has no room for NaN."""
    array = read("a", column)

    assert array.dtype == np.float64
    np.testing.assert_array_equal(array, [1, NAN])


@pytest.mark.parametrize(
    "column",
    [
        [None, None],
        pd.Series([None, None]),
        pl.Series([None, None]),
        pa.nulls(2),
        pa.chunked_array([pa.nulls(2)]),
    ],
    ids=_kind,
)
def test_a_column_of_nulls_alone_is_nan(column):
    """Its type says nothing, so it contradicts nothing."""
    np.testing.assert_array_equal(read("a", column), [NAN, NAN])


@pytest.mark.parametrize(
    "column",
    [
        [],
        np.array([], "datetime64[s]"),
        pd.Series([], dtype=object),
        pl.Series([], dtype=pl.String),
        pa.nulls(0),
    ],
    ids=_kind,
)
def test_no_rows_are_no_numbers_of_any_type(column):
    """An empty table often has lost the types of its columns."""
    array = read("a", column)

    assert array.shape == (0,)
    assert array.dtype == np.float64


@pytest.mark.parametrize("scalar", [3, 3.0, True, Decimal(3), np.float32(3), np.array(3)])
def test_a_scalar_stays_one(scalar):
    """Whoever joins the columns repeats it."""
    array = read("a", scalar)

    assert array.shape == ()
    assert array.dtype.kind in "fib"


def test_a_null_is_a_scalar_too():
    """None for every row."""
    assert math.isnan(read("a", None))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([1.5, "2.5"], "row 1 has '2.5' (str)"),
        ("text", "row 0 has 'text' (str_)"),
        (["x" * 100], f"row 0 has '{'x' * 39}... (str)"),
        ([1, [2, 3]], "row 1 has [2, 3] (list)"),
        ([1, 2j], "row 1 has 2j (complex)"),
        (np.array(["a", "b"]), "row 0 has 'a' (str_)"),
        (np.array(["2020-01-02"], "M8[D]"), "row 0 has 2020-01-02 (datetime64)"),
        ({1, 2}, "row 0 has {1, 2} (set)"),
        (pd.Series([None, "a"]), "row 1 has 'a' (str)"),
        (pd.Series(["a"], dtype="category"), "row 0 has 'a' (str)"),
        (pd.Series(["2020-01-02"], dtype="datetime64[ns, UTC]"), "row 0 has 2020-01-02"),
        (pl.Series(["1.5"]), "row 0 has '1.5' (str)"),
        (pl.Series([date(2020, 1, 2)]), "row 0 has 2020-01-02 (datetime64)"),
        (pl.Series([[1, 2]]), "row 0 has [1 2] (ndarray)"),
        (pa.array(["a"]), "row 0 has 'a' (str)"),
        (pa.array([{"x": 1}]), "row 0 has {'x': 1} (dict)"),
    ],
)
def test_what_is_no_number_is_shown(column, expected):
    """The column, the first row that is wrong, what it holds, and what to do."""
    with pytest.raises(Misfit) as caught:
        read("a", column)

    message = str(caught.value)
    assert message.startswith(f"column 'a' must hold numbers, {expected}")
    assert message.endswith("): convert the column first")


@pytest.mark.parametrize("column", [[[1, 2], [3, 4]], np.ones((2, 2)), np.ones((2, 1, 1))])
def test_more_than_one_number_a_row_is_refused(column):
    """A column of vectors is several columns."""
    with pytest.raises(Misfit, match=r"column 'a' has shape \(2, .*\), expected one number a row"):
        read("a", column)


def test_what_numpy_cannot_read_is_refused_by_name():
    """The reason stays reachable."""

    class Broken:
        def __array__(self, dtype=None, copy=None):
            msg = "detached"
            raise RuntimeError(msg)

    with pytest.raises(Misfit, match="column 'a' cannot be read as an array: detached") as caught:
        read("a", Broken())

    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("value", [2**53 + 1, -(2**63), 2**64 - 1])
def test_integers_are_not_rounded(value):
    """A float64 would not hold them."""
    for column in ([value], pl.Series([value]), pd.Series([value]), pa.array(np.array([value]))):
        assert read("a", column).tolist() == [value]


def test_numbers_of_more_than_64_bits_are_rounded():
    """As floats are; these have nothing closer."""
    assert read("a", [2**70, Fraction(1, 3)]).tolist() == [2.0**70, 1 / 3]


@pytest.mark.parametrize("value", [10**400, Decimal("sNaN")])
def test_a_number_that_no_float_holds_is_refused(value):
    """Nothing stands for it."""
    with pytest.raises(Misfit, match="column 'a' has a number that 64 bits cannot hold"):
        read("a", [value])
