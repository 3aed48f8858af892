"""Tables, rows and columns by name, given to `predict` of either client."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from isotherm.client import AsyncClient, InvalidInputError
from isotherm.v1 import contract as contracts
from isotherm.v1.contract_pb2 import Contract, Feature, Target, Tensors
from tests.unit.client.conftest import LinearModel

COLUMNS: dict[str, list[Any]] = {"humidity": [1.0, 2.0], "t_u": [30.0, 40.0], "note": ["a", "b"]}
MAKERS = {
    "rows": lambda columns: pd.DataFrame(columns).to_dict("records"),
    "mapping": dict,
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "arrow": pa.table,
    "batch": pa.RecordBatch.from_pydict,
}
each = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def _contract(*names):
    return Contract(
        schema_version=1,
        model_name="weather",
        features=[Feature(name=name, unit="degF" if name == "t_u" else "") for name in names],
        targets=[Target(name="y")],
        tensors=Tensors(input="x", prediction="y"),
    )


@pytest.fixture(name="weather")
def _weather(server):
    """Return a model of two features; the second one counts a hundred times."""
    server.models["weather"] = LinearModel(
        [("x", "FP32", (-1, 2))],
        [("y", "FP32", (-1, 1))],
        lambda x: [x @ np.array([[1], [100]], np.float32)],
        contracts.dumps(_contract("t_u", "humidity")),
    )
    return "weather"


@each
def test_every_kind_of_table_is_predicted_by_its_names(client, weather, make):
    """The features come in another order, and a column of text lies beside them."""
    prediction = client.predict(weather, make(COLUMNS))

    assert prediction.tolist() == [[130], [240]]


@each
async def test_the_asynchronous_client_takes_the_same(server, weather, make):
    """One row of each caller, all at the same time."""
    async with AsyncClient(server.address) as client:
        single = [
            make({name: [values[row % 2]] for name, values in COLUMNS.items()}) for row in range(20)
        ]
        answers = await asyncio.gather(*(client.predict(weather, x) for x in single))

    assert [np.asarray(answer).tolist() for answer in answers] == [[[130]], [[240]]] * 10


def test_scalars_by_name_are_one_row(client, weather):
    """The shortest way to ask by name."""
    assert client.predict(weather, {"humidity": 1, "t_u": 30}).tolist() == [[130]]


def test_the_name_of_the_input_wins(client, weather):
    """A dict of arrays by input name goes to the tensors as it is."""
    assert client.predict(weather, {"x": [[30, 1]]}).tolist() == [[130]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"t_u": [30.0]}, "no column 'humidity', found 't_u'"),
        ({"t_u": [30.0], "humidity": ["low"]}, "row 0 has 'low' (str)"),
        ({"t_u": [30.0], "humidity": [None]}, "row 0 of input 'x' has nan for 'humidity'"),
        ({"t_u": [30.0], "humidity": [1e39]}, "FP32, which cannot hold 1e+39"),
    ],
)
@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_what_does_not_fit_is_refused_before_anything_is_sent(
    server, client, weather, make, columns, message
):
    """The server sees no inference."""
    with pytest.raises(InvalidInputError) as caught:
        client.predict(weather, make(columns))

    assert message in str(caught.value)
    assert "ModelInfer" not in server.calls


def test_a_table_in_another_unit_is_refused(client, weather):
    """Wrong units are wrong answers that look right."""
    frame = pd.DataFrame(COLUMNS)
    frame.attrs["units"] = {"t_u": "degC"}

    with pytest.raises(InvalidInputError, match=r"column 't_u' is in 'degC', .* in 'degF'"):
        client.predict(weather, frame)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_a_model_without_a_contract_takes_no_table(client, make):
    """Though it has as many features as the table has columns."""
    with pytest.raises(InvalidInputError, match="carries no contract, so"):
        client.predict("plane", make({"a": [1.0], "b": [2.0], "c": [3.0]}))
