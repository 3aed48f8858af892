"""Answers as columns."""

from __future__ import annotations

import numpy as np
import pytest

from isotherm.client import Prediction
from isotherm.client.cli import answer
from isotherm.client.cli.failure import Failure
from isotherm.client.cli.model import Column, Model
from isotherm.client.cli.rows import Batch
from isotherm.v1.contract_pb2 import Contract, Interval, Target, Tensors

_ROWS = Batch(np.array([[1.0], [2.0]]), "rows.csv", "line", [2, 3])


def _model(contract=None, feature="x"):
    return Model("m", (Column(feature),), ("y",), contract)


def _names(columns):
    return [column.name for column in columns]


def test_several_targets_have_bounds_of_their_own():
    """Each target is followed by its interval."""
    contract = Contract(
        targets=[Target(name="a"), Target(name="b")],
        tensors=Tensors(prediction="y", lower="low", upper="high"),
        interval=Interval(coverage=0.8),
    )
    pair = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)

    columns = answer.series(
        _model(contract), _ROWS, Prediction({"y": pair, "low": pair - 1, "high": pair + 1})
    )

    assert _names(columns) == ["x", "a", "a_lower", "a_upper", "b", "b_lower", "b_upper"]
    assert columns[4].values == [2.0, 4.0]
    assert columns[5].label == "b_lower 80%"


def test_a_target_named_like_a_feature_is_not_lost():
    """JSON has one value a name."""
    contract = Contract(targets=[Target(name="x")], tensors=Tensors(prediction="y"))

    columns = answer.series(_model(contract), _ROWS, np.zeros((2, 1), np.float32))

    assert _names(columns) == ["x", "predicted_x"]


def test_wide_outputs_are_numbered():
    """Without a contract a column is an index."""
    columns = answer.series(_model(), _ROWS, np.zeros((2, 3), np.int64))

    assert _names(columns) == ["x", "y[0]", "y[1]", "y[2]"]


def test_flat_outputs_and_text_are_columns():
    """One dimension is one column; bytes are read as UTF-8."""
    arrays = {"label": np.array([b"a", "ü".encode()], object), "n": np.array([1, 2])}

    columns = answer.series(_model(), _ROWS, Prediction(arrays))

    assert [column.values for column in columns[1:]] == [["a", "ü"], [1, 2]]


def test_an_output_that_is_no_table_is_refused():
    """Three dimensions do not fit on a line."""
    with pytest.raises(Failure, match=r"output 'y' has shape \(2, 1, 1\), which is no table"):
        answer.series(_model(), _ROWS, np.zeros((2, 1, 1)))


def test_numbers_keep_the_digits_that_they_have():
    """float32 0.1 is written as 0.1, not as its float64 expansion."""
    columns = answer.series(_model(), _ROWS, np.array([[0.1], [np.nan]], np.float32))

    assert [repr(row) for row in answer.lines(columns)] == ["(1.0, 0.1)", "(2.0, nan)"]


def test_features_can_be_left_out():
    """A target that is named like one then keeps its name."""
    contract = Contract(targets=[Target(name="x")], tensors=Tensors(prediction="y"))

    columns = answer.series(_model(contract), _ROWS, np.zeros((2, 1), np.float32), features=False)

    assert _names(columns) == ["x"]


def test_an_output_of_other_rows_is_refused():
    """Rows and predictions would stand beside each other by chance."""
    with pytest.raises(Failure, match=r"output 'y' has shape \(3, 1\) for 2 rows"):
        answer.series(_model(), _ROWS, np.zeros((3, 1)))


def test_a_label_is_the_likeliest_class_beside_every_probability():
    """A classification's columns are probabilities, in the order of the contract's classes."""
    contract = Contract(
        targets=[Target(name="kind", classes=["cold", "mild", "warm"])],
        tensors=Tensors(prediction="y"),
    )
    probabilities = np.array([[0.75, 0.25, 0.0], [0.125, 0.25, 0.625]], np.float32)

    columns = answer.series(_model(contract), _ROWS, probabilities)

    assert _names(columns) == ["x", "kind", "P(cold)", "P(mild)", "P(warm)"]
    assert columns[1].values == ["cold", "warm"]
    assert columns[4].values == [0.0, 0.625]
