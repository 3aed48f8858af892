"""Arrays, fitted to a model's inputs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from isotherm.client import InvalidInputError
from isotherm.client._inputs import fit
from isotherm.client._signature import Signature, TensorSpec


def _signature(*specs, model="m"):
    return Signature(model, tuple(TensorSpec(*spec) for spec in specs))


def _x(datatype, shape):
    return _signature(("x", datatype, shape))


def _fitted(signature, x):
    ((_, _, array),) = fit(signature, x)
    return array


def test_one_dimension_is_n_rows_for_a_model_with_one_feature():
    """Numbers in a list are readings of the one feature."""
    array = _fitted(_x("FP32", (-1, 1)), [1.0, 2.0, 3.0])

    assert array.shape == (3, 1)


def test_a_single_number_is_one_row_for_a_model_with_one_feature():
    """Zero dimensions are one reading."""
    assert _fitted(_x("FP32", (-1, 1)), 20).shape == (1, 1)


def test_one_dimension_is_refused_with_both_readings_otherwise():
    """The caller learns the two things it could mean, and how to say each."""
    with pytest.raises(InvalidInputError) as caught:
        fit(_x("FP32", (-1, 3)), np.arange(6.0))

    assert str(caught.value) == (
        "model 'm': input 'x' takes rows of 3 features, and an array of shape (6,) reads two ways: "
        "6 rows of 1 feature, x.reshape(-1, 1), or 1 row of 6 features, x.reshape(1, -1); "
        "pass one of them"
    )


def test_one_dimension_is_refused_where_any_width_goes():
    """A model of free width has two readings too."""
    with pytest.raises(InvalidInputError, match="takes rows of any number of features"):
        fit(_x("FP32", (-1, -1)), [1.0, 2.0])


def test_one_dimension_is_kept_where_the_model_has_one():
    """A model without features takes the array as it is."""
    assert _fitted(_x("FP32", (-1,)), [1.0, 2.0]).shape == (2,)


def test_a_server_that_describes_no_shape_gets_the_array_as_it_is():
    """An empty shape in the metadata is no demand."""
    assert _fitted(_x("FP32", ()), np.ones((2, 2))).shape == (2, 2)


@pytest.mark.parametrize("shape", [(2, 4), (2, 3, 1), (1, 2, 3)])
def test_a_wrong_width_or_rank_is_refused_with_both_shapes(shape):
    """What the model takes and what it got."""
    with pytest.raises(InvalidInputError, match=r"'x' has shape \[-1, 3\], got an array of shape"):
        fit(_x("FP32", (-1, 3)), np.ones(shape))


def test_the_first_dimension_is_left_to_the_server():
    """Some servers describe a batch of one and take any."""
    assert _fitted(_x("FP32", (1, 3)), np.ones((5, 3))).shape == (5, 3)


@pytest.mark.parametrize(
    "array",
    [
        np.array([[1.5]], np.float64),
        np.array([[1]], np.int64),
        np.array([[1]], np.uint8),
        np.array([[True]]),
        np.array([[1.5]], np.float16),
        np.array([[1.5]], ">f4"),
    ],
)
def test_numbers_become_the_models_floating_type(array):
    """Floats of any width, integers and truth values are safe to cast."""
    cast = _fitted(_x("FP32", (-1, 1)), array)

    assert np.dtype("<f4") == cast.dtype
    assert float(array[0, 0]) == cast[0, 0]


def test_an_array_of_the_right_type_is_not_copied():
    """What fits goes out as it is."""
    x = np.ones((2, 3), np.float32)

    assert _fitted(_x("FP32", (-1, 3)), x) is x


def test_nan_and_infinity_pass_as_they_are():
    """Whether the model takes them is for the server to say."""
    cast = _fitted(_x("FP32", (-1, 1)), [np.nan, np.inf, -np.inf])

    np.testing.assert_array_equal([[np.nan], [np.inf], [-np.inf]], cast)


def test_a_number_beyond_the_models_range_is_refused():
    """1e300 must not silently become infinity."""
    with pytest.raises(InvalidInputError, match=r"'x' is FP32, which cannot hold 1e\+300"):
        fit(_x("FP32", (-1, 1)), [1.0, 1e300])


@pytest.mark.parametrize(("datatype", "value"), [("INT32", 2**31), ("UINT8", -1), ("INT8", 128)])
def test_an_integer_beyond_the_models_range_is_refused(datatype, value):
    """Integers change width only if every one of them fits."""
    with pytest.raises(InvalidInputError, match=f"is {datatype}, which cannot hold {value}"):
        fit(_x(datatype, (-1, 1)), [0, value])


def test_a_negative_number_does_not_become_a_large_unsigned_one():
    """The bits of -1 are those of 2**64 - 1; the numbers are not the same."""
    with pytest.raises(InvalidInputError, match="UINT64, which cannot hold -1"):
        fit(_x("UINT64", (-1, 1)), np.array([-1]))
    with pytest.raises(InvalidInputError, match="INT64, which cannot hold 18446744073709551615"):
        fit(_x("INT64", (-1, 1)), np.array([2**64 - 1], np.uint64))


@given(arrays.arrays(np.int64, st.integers(0, 5), elements=st.integers(-(2**63), 2**63 - 1)))
def test_integers_keep_their_value_or_are_refused(values):
    """No cast to a narrower type changes a number."""
    info = np.iinfo(np.int16)
    fits = bool(((values >= info.min) & (values <= info.max)).all())
    try:
        cast = _fitted(_x("INT16", (-1, 1)), values)
    except InvalidInputError:
        assert not fits
    else:
        assert values.tolist() == cast.ravel().tolist()


@pytest.mark.parametrize(
    ("datatype", "array"),
    [
        ("INT32", np.array([[1.0]])),
        ("BOOL", np.array([[1]])),
        ("FP32", np.array([["1"]])),
        ("FP32", np.array([[1j]])),
        ("FP32", np.array([[None]])),
        ("FP32", np.array([["2026-01-01"]], "datetime64[D]")),
        ("BYTES", np.array([[1]])),
        ("BYTES", np.array([[None]])),
    ],
)
def test_a_cast_that_would_guess_is_refused(datatype, array):
    """The message has both types."""
    with pytest.raises(InvalidInputError, match=f"'x' is {datatype}.*got an array of "):
        fit(_x(datatype, (-1, 1)), array)


def test_a_list_with_rows_of_different_lengths_is_refused():
    """Numpy's reason is kept."""
    with pytest.raises(InvalidInputError, match="the input is no array") as caught:
        fit(_x("FP32", (-1, 1)), [[1.0], [1.0, 2.0]])

    assert isinstance(caught.value.__cause__, ValueError)


def test_a_bare_array_is_refused_where_the_model_has_several_inputs():
    """The inputs are named."""
    signature = _signature(("a", "FP32", (-1, 1)), ("b", "FP32", (-1, 1)))

    with pytest.raises(InvalidInputError, match=r"it has 2 inputs \(a, b\): pass a dict"):
        fit(signature, [1.0])


def test_a_bare_array_is_refused_where_the_inputs_are_unknown():
    """Without a description there is no name to send it under."""
    with pytest.raises(InvalidInputError, match=r"it has 0 inputs \(none\): pass a dict"):
        fit(_signature(), [1.0])


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"], ["a", "c"], []])
def test_missing_and_unknown_names_are_refused_with_both_lists(names):
    """Expected and found, by name."""
    signature = _signature(("a", "FP32", (-1, 1)), ("b", "FP32", (-1, 1)))
    found = ", ".join(names) or "none"

    with pytest.raises(InvalidInputError, match=f"inputs a, b, got {found}"):
        fit(signature, {name: [1.0] for name in names})


def test_inputs_come_in_the_models_order():
    """The order of the dict does not matter."""
    signature = _signature(("a", "FP32", (-1, 1)), ("b", "INT64", (-1, 1)))

    fitted = fit(signature, {"b": [1], "a": [2.0]})

    assert [(name, datatype) for name, datatype, _ in fitted] == [("a", "FP32"), ("b", "INT64")]


def test_a_type_without_a_name_on_the_wire_is_refused_where_nothing_is_described():
    """Only a described model lets the client cast."""
    with pytest.raises(InvalidInputError, match="'a': numpy type complex128"):
        fit(_signature(), {"a": [1j]})


def test_a_datatype_that_the_client_does_not_know_is_refused():
    """A later protocol's type is named."""
    with pytest.raises(InvalidInputError, match="datatype 'FP4', which this client does not know"):
        fit(_x("FP4", (-1, 1)), [1.0])


@pytest.mark.parametrize(
    ("table", "remedy"),
    [
        ([{"a": 1.0, "b": 2.0}], r"\[\[row\[name\] for name in names\] for row in x\]"),
        (pd.DataFrame({"a": [1.0], "b": [2.0]}), r"x\.to_numpy\(\)"),
        (pl.DataFrame({"a": [1.0], "b": [2.0]}), r"x\.to_numpy\(\)"),
        (pl.LazyFrame({"a": [1.0], "b": [2.0]}), r"x\.collect\(\)\.to_numpy\(\)"),
        (pa.table({"a": [1.0], "b": [2.0]}), r"x\.to_pandas\(\)\.to_numpy\(\)"),
    ],
    ids=["rows", "pandas", "polars", "lazy", "arrow"],
)
def test_a_table_is_refused_where_no_contract_names_the_features(table, remedy):
    """Its columns would be taken in the order in which they happen to be."""
    with pytest.raises(InvalidInputError, match=f"carries no contract, .* such as {remedy}$"):
        fit(_x("FP32", (-1, 2)), table)


def test_an_empty_list_is_an_array():
    """Of no readings."""
    assert _fitted(_x("FP32", (-1, 1)), []).shape == (0, 1)


@pytest.mark.parametrize(
    "series", [pd.Series([1.5, 2.5]), pl.Series([1.5, 2.5]), pa.array([1.5, 2.5])]
)
def test_one_column_alone_is_an_array(series):
    """It has no other to be mistaken for."""
    assert _fitted(_x("FP32", (-1, 1)), series).tolist() == [[1.5], [2.5]]
