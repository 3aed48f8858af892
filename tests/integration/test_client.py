"""Both clients against the real server, on each transport."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from isotherm.client import (
    AsyncClient,
    Client,
    DeadlineExceededError,
    InvalidInputError,
    NoContractError,
    NotFoundError,
    ServerFaultError,
    UnavailableError,
)
from tests.support import models
from tests.support.server import serving


@pytest.fixture(name="client")
def _client(server):
    with Client(server.address) as client:
        yield client


def test_a_prediction_goes_there_and_back(client):
    """Floats from a list, doubled by the graph."""
    y = client.predict("doubling", [1.5, -2.0])

    np.testing.assert_array_equal(y, [[3.0], [-4.0]])


def test_several_inputs_and_outputs_go_by_name(client):
    """Triton's example model: a sum and a difference."""
    ones = np.ones((2, 16), np.int32)

    prediction = client.predict("simple", {"INPUT1": ones, "INPUT0": 3 * ones})

    np.testing.assert_array_equal(prediction.OUTPUT0, 4 * ones)
    np.testing.assert_array_equal(prediction.OUTPUT1, 2 * ones)


def test_requested_outputs_are_the_only_ones(client):
    """One name, one array."""
    ones = np.ones((1, 16), np.int32)

    difference = client.predict("simple", {"INPUT0": ones, "INPUT1": ones}, outputs="OUTPUT1")

    np.testing.assert_array_equal(difference, 0 * ones)


def test_text_and_half_precision_survive(client):
    """BYTES as objects, FP16 from float64."""
    text = np.array([["é"], [""], ["a\0"]], object)

    assert client.predict("text", text).tolist() == [["é".encode()], [b""], [b"a\0"]]
    assert client.predict("half", [[1.5, 2.0]]).dtype == np.float16


def test_a_request_larger_than_a_batch_comes_back_whole(client):
    """The server slices; the order of the rows is kept."""
    x = np.arange(100_000.0)

    y = client.predict("doubling", x, timeout=60)

    np.testing.assert_array_equal(y[:, 0], 2 * x)


def test_the_contract_travels_with_the_model(client):
    """Units and ranges, as they were trained."""
    contract = client.contract("doubling")

    assert [feature.unit for feature in contract.features] == ["degF"]
    with pytest.raises(NoContractError):
        client.contract("mlp")


def test_metadata_configuration_and_health_are_answered(client):
    """The protocol's other calls."""
    assert client.health()
    assert client.health("doubling")
    assert client.server_metadata().name
    assert list(client.model_metadata("mlp").inputs[0].shape) == [-1, 1]
    assert client.config("mlp").name == "mlp"


@pytest.mark.parametrize(
    ("model", "x", "error"),
    [
        ("absent", [1.0], NotFoundError),
        ("wide", [1.0, 2.0], InvalidInputError),
        ("wide", [[1.0, 2.0]], InvalidInputError),
        ("doubling", {"wrong": [1.0]}, InvalidInputError),
        ("doubling", [float("nan")], InvalidInputError),
        ("lookup", [[7]], ServerFaultError),
    ],
)
def test_mistakes_are_told_apart(client, model, x, error):
    """By this side or by the server, the class is the same."""
    with pytest.raises(error):
        client.predict(model, x)


def test_an_unknown_output_is_the_callers_mistake(client):
    """The server names it."""
    with pytest.raises(InvalidInputError, match="absent"):
        client.predict("doubling", [1.0], outputs="absent")


def test_an_unknown_version_is_not_found(client):
    """Versions are numbers; there is no ninety-ninth."""
    with pytest.raises(NotFoundError):
        client.predict("doubling", [1.0], version=99)


async def test_many_calls_at_once_get_their_own_rows(server):
    """Concurrent one-row calls, batched by the server, come back to their callers."""
    async with AsyncClient(server.address, timeout=30) as client:
        answers = await asyncio.gather(
            *(client.predict("doubling", [n], outputs="y") for n in range(1000))
        )

    assert [answer[0, 0] for answer in answers] == [2 * n for n in range(1000)]


async def test_a_deadline_that_cannot_be_met_ends_the_call(server):
    """Sixteen megabytes do not go there and back in ten milliseconds."""
    rows = np.ones((1_000_000, 4), np.float32)
    async with AsyncClient(server.address) as client:
        await client.predict("wide", rows[:1])
        with pytest.raises(DeadlineExceededError):
            await client.predict("wide", rows, timeout=0.01)


def test_a_server_that_is_gone_and_back_is_found_again(tmp_path):
    """One client lives through a restart on the same port."""
    models.publish(tmp_path, "doubling", models.doubling())
    with serving(tmp_path) as first, Client(first.address) as client:
        assert client.predict("doubling", [1.0], outputs="y")[0, 0] == 2.0
        assert first.stop() == 0
        with pytest.raises(UnavailableError):
            client.predict("doubling", [1.0])

        # The later flag wins over the port that the fixture chose.
        with serving(tmp_path, "--grpc-port", str(first.grpc_port)):
            assert client.predict("doubling", [1.0], outputs="y")[0, 0] == 2.0
