"""Categories and missing cells from tables of every kind through a real server."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm.client import AsyncClient, Client, InvalidInputError
from isotherm.client._category import Lookup
from tests.support import models
from tests.support.rpc import error_of, infer_request
from tests.support.server import Server, eventually, serving
from tests.unit.server.fakes import session

MODEL = models.rides()
CITIES = ["Oslo", "Paris", "Rome", "Atlantis", "oslo", " Oslo", "", "  ", "nan", "None", None]


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has vetted its models: their golden rows have missing cells."""
    repository = tmp_path_factory.mktemp("models")
    models.publish(repository, "rides", MODEL)
    models.publish(
        repository, "doubling", models.with_contract(models.doubling(), models.doubling_contract())
    )
    with serving(repository, "--vetting", "strict", "--workers", "1") as server:
        yield server


@pytest.fixture(name="client", scope="module")
def _client(server: Server) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


KINDS: dict[str, Any] = {
    "rows": lambda columns: [
        dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
    ],
    "mapping": dict,
    "pandas": lambda columns: pd.DataFrame(columns).astype({"km": "float64"}),
    "pandas categories": lambda columns: pd.DataFrame(columns).astype(
        {"city": "category", "km": "float64"}
    ),
    "polars": lambda columns: pl.DataFrame(
        columns, schema={"hour": pl.Int16, "city": pl.String, "km": pl.Float64}
    ),
    "polars categories": lambda columns: pl.DataFrame(
        columns, schema={"hour": pl.Int16, "city": pl.Categorical, "km": pl.Float32}
    ),
    "arrow": lambda columns: pa.table(
        {
            "hour": pa.array(columns["hour"], pa.int8()),
            "city": pa.array(columns["city"], pa.string()).dictionary_encode(),
            "km": pa.array(columns["km"], pa.float64()),
        }
    ),
}
ROWS = st.lists(
    st.tuples(
        st.integers(0, 23),
        st.sampled_from(CITIES),
        st.none() | st.floats(0, 50, width=16),
    ),
    min_size=1,
    max_size=40,
)


def _columns(rows: list[Any]) -> dict[str, list[Any]]:
    return dict(zip(("hour", "city", "km"), map(list, zip(*rows, strict=True)), strict=True))


def _direct(rows: list[Any]) -> Any:
    """What ONNX Runtime answers to the codes, worked out one by one."""
    codes = {"Oslo": 0.0, "Paris": 1.0, "Rome": 2.0}
    x = [
        [
            math.nan if city is None or not city.strip() else codes.get(city, -1.0),
            math.nan if km is None else km,
            hour,
        ]
        for hour, city, km in rows
    ]
    return session(MODEL).run([np.array(x, np.float32)])[0]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8)
@given(rows=ROWS)
def test_served_is_what_the_graph_answers_to_the_codes(
    client: Client, kind: str, rows: list[Any]
) -> None:
    """In one call, and in two batches of a stream."""
    table, expected = KINDS[kind](_columns(rows)), _direct(rows)

    np.testing.assert_array_equal(client.predict("rides", table), expected)
    halves = [KINDS[kind](_columns(part)) for part in (rows[:7], rows[7:]) if part]
    streamed = np.concatenate(list(client.predict_stream("rides", halves)))
    np.testing.assert_array_equal(streamed, expected)


async def test_callers_of_the_asynchronous_client_share_requests(server: Server) -> None:
    """Each with another gap."""
    rows = [(hour, CITIES[hour % len(CITIES)], None if hour % 3 else 1.5) for hour in range(24)]
    async with AsyncClient(server.address) as client:
        answers = await asyncio.gather(
            *(client.predict("rides", KINDS["rows"](_columns([row]))) for row in rows)
        )

    np.testing.assert_array_equal(np.concatenate([np.asarray(a) for a in answers]), _direct(rows))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0, 1, math.nan], "row 0 of input 'x' has nan for 'hour'"),
        ([0, math.inf, 1], "row 0 of input 'x' has inf for 'km'"),
        ([-math.inf, 1, 1], "row 0 of input 'x' has -inf for 'city'"),
    ],
)
def test_client_and_server_refuse_the_same_in_the_same_words(
    server: Server, client: Client, row: list[float], message: str
) -> None:
    """The server where a caller's client does not know the contract."""
    x = np.array([row], np.float32)
    with grpc.insecure_channel(server.address) as channel:
        code, details = error_of(channel, "ModelInfer", infer_request("rides", x=x))
    with pytest.raises(InvalidInputError) as caught:
        client.predict("rides", x)

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details == str(caught.value)
    assert details.startswith(message)


def test_a_model_without_such_columns_refuses_missing_cells_as_ever(client: Client) -> None:
    with pytest.raises(InvalidInputError, match=r"has nan for 'reading': .* \(missing: refuse\)$"):
        client.predict("doubling", {"reading": [None]})


def test_the_contract_that_is_served_maps_values_for_whoever_asks(client: Client) -> None:
    """Of another client, or for a request that is written by hand."""
    lookup = Lookup(client.contract("rides").features[0])

    assert [lookup["Paris"], lookup["Atlantis"]] == [1, -1]
    assert math.isnan(lookup[None])


def test_the_metrics_page_counts_gaps_and_unknown_values_where_they_were_answered(
    server: Server, client: Client
) -> None:
    """Not as refused, and not as infinite."""
    names = ("missing", "out_of_range", "infinite")
    labels = '{column="city",kind="feature",model="rides",version="1"}'
    series = {name: f"isotherm_drift_{name}_total{labels}" for name in names}
    before = {name: server.metric(series[name]) for name in names}
    client.predict("rides", {"city": ["Atlantis", None, "Oslo"], "km": 1, "hour": 1})

    assert eventually(lambda: server.metric(series["missing"]) == before["missing"] + 1)
    assert server.metric(series["out_of_range"]) == before["out_of_range"] + 1
    assert server.metric(series["infinite"]) == before["infinite"]
