"""Categories and missing cells, given to `predict` of either client."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from isotherm.client import Client, InvalidInputError
from isotherm.v1 import contract as contracts
from tests.unit.client.linear import rides_contract

# As `rides` answers: city, km, seats, hour as digits, 7 for a missing cell, -1 for unknown values.
COLUMNS = {
    "hour": [1, 2, 3, 4],
    "seats": [6, 4, None, 5],
    "city": ["Rome", None, "Atlantis", "Oslo"],
    "km": [1.0, 2.0, 3.0, None],
}
ANSWERS = [[2111], [7202], [-1000 + 300 + 70 + 3], [700 - 10 + 4]]
ARRAY = np.array(
    [[2, 1, 1, 1], [math.nan, 2, 0, 2], [-1, 3, math.nan, 3], [0, math.nan, -1, 4]], np.float32
)


def _rows():
    return [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)]


TABLES: dict[str, Any] = {
    "rows": _rows,
    "mapping": lambda: COLUMNS,
    "pandas": lambda: pd.DataFrame(COLUMNS),
    "pandas categories": lambda: pd.DataFrame(COLUMNS).astype({"city": "category"}),
    "polars": lambda: pl.DataFrame(COLUMNS),
    "arrow": lambda: pa.table(COLUMNS),
    "array": lambda: ARRAY,
}


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
def test_every_kind_of_table_reaches_the_model_as_codes(connect, make):
    """In one call, on a stream, and row by row from callers who share requests."""
    driver, table = connect(), make()

    whole = driver.call("predict", "rides", table).result()
    streamed = list(driver.stream("rides", [table, table]))

    assert whole.tolist() == ANSWERS
    assert [part.tolist() for part in streamed] == [ANSWERS, ANSWERS]


def test_callers_with_missing_cells_share_a_request(connect, server, gate):
    """A missing cell is no bad row that has to travel alone."""
    driver = connect()
    first = driver.call("predict", "rides", _rows()[:1])
    gate.wait_for(1)
    others = [driver.call("predict", "rides", [row]) for row in _rows()]
    gate.open_all()

    assert first.result().tolist() == ANSWERS[:1]
    assert [other.result().tolist() for other in others] == [[each] for each in ANSWERS]


@pytest.mark.parametrize(
    "table", [{**COLUMNS, "hour": [1, None, 3, 4]}, ARRAY * [[1, 1, 1, math.nan]]]
)
def test_a_missing_cell_is_refused_where_the_contract_has_no_place_for_it(client, server, table):
    """Before anything is sent: row, column, policy, and where it would be taken."""
    with pytest.raises(InvalidInputError) as caught:
        client.predict("rides", table)

    assert str(caught.value) == (
        f"row {0 if isinstance(table, np.ndarray) else 1} of input 'x' has nan for 'hour': model "
        "'rides' was not trained on such values (missing: refuse; it may be missing in 'city', "
        "'km', 'seats')"
    )
    assert "ModelInfer" not in server.calls


@pytest.mark.parametrize("column", [0, 1])
def test_infinity_is_refused_everywhere(client, server, column):
    array = ARRAY.copy()
    array[2, column] = math.inf

    with pytest.raises(InvalidInputError, match="row 2 of input 'x' has inf"):
        client.predict("rides", array)
    assert "ModelInfer" not in server.calls


def test_an_unknown_value_can_be_an_error(server):
    """For whoever would rather know; a missing one is none."""
    with Client(server.address, unknown="error") as client:
        assert client.predict("rides", _rows()[:2], outputs="y").tolist() == ANSWERS[:2]
        with pytest.raises(InvalidInputError, match="column 'city' has 'Atlantis' in row 2, which"):
            client.predict("rides", pd.DataFrame(COLUMNS))
    assert server.calls.count("ModelInfer") == 1


def test_that_choice_has_two_values(server):
    with pytest.raises(InvalidInputError, match="unknown is 'raise', expected 'take' or 'error'"):
        Client(server.address, unknown="raise")  # type: ignore[arg-type]


def test_codes_follow_the_version_that_answers(connect, server):
    """A new version has the cities in another order: the table is looked up again."""
    driver = connect()
    city = [{"city": "Rome", "km": 0, "seats": 4, "hour": 0}]
    assert driver.call("predict", "rides", city).result().tolist() == [[2000]]
    changed = rides_contract()
    changed.features[0].categories[:] = ["Rome", "Oslo"]
    server.models["rides"].contract = contracts.dumps(changed)
    server.models["rides"].version = "2"

    assert driver.call("predict", "rides", city).result().tolist() == [[0]]


def test_text_without_names_is_told_to_go_by_name(client):
    """An array says of no column which it is."""
    with pytest.raises(InvalidInputError, match="categories that are text go by name: pass a dict"):
        client.predict("rides", [["Rome", 1.0, 6, 1]])


def test_the_contract_has_categories_and_policies(client):
    """Whatever a caller wants to look up by itself."""
    city, km, _, hour = client.contract("rides").features

    assert list(city.categories) == ["Oslo", "Paris", "Rome"]
    assert [contracts.takes_missing(each) for each in (city, km, hour)] == [True, True, False]
