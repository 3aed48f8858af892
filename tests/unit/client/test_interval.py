"""Predictions with their bounds, by both clients."""

from __future__ import annotations

import numpy as np
import pytest

from isotherm.client import DeadlineExceededError, Interval, NoContractError
from isotherm.v1 import contract as contracts
from tests.support.server import eventually
from tests.unit.client.conftest import Connect
from tests.unit.client.driving import PATIENCE_S, Driver, Gate
from tests.unit.client.linear import LinearServer, thermometer_contract
from tests.unit.client.sharing import known, rows_of


@pytest.fixture(name="driver")
def _driver(connect: Connect) -> Driver:
    return connect()


def test_an_interval_has_a_prediction_its_bounds_and_their_coverage(driver: Driver) -> None:
    """By the names that the contract gives them."""
    for _ in range(2):
        interval = driver.ask("predict_interval", "line", [32.0, 212.0])
        assert isinstance(interval, Interval)
        np.testing.assert_allclose(interval.prediction, [[0], [100]], atol=1e-4)
        np.testing.assert_allclose(interval.lower, [[-1.5], [98.5]], atol=1e-4)
        np.testing.assert_allclose(interval.upper, [[1.5], [101.5]], atol=1e-4)
        assert interval.coverage == pytest.approx(0.9)
        prediction, lower, upper, _ = interval
        assert (lower < prediction).all()
        assert (prediction < upper).all()


def test_intervals_are_shared_like_predictions(
    driver: Driver, server: LinearServer, gate: Gate, patient: None
) -> None:
    """By those who ask for them at the same time."""
    known(server, driver, "line", [32.0], outputs=["y", "lower", "upper"])
    driver.call("predict_interval", "line", [32.0])
    gate.wait_for(1)
    group = driver.group("line", outputs=["y", "lower", "upper"])
    assert group is not None
    futures = [driver.call("predict_interval", "line", [32 + 1.8 * n]) for n in range(4)]
    assert eventually(lambda: len(group.pending) == 4)
    gate.open()
    intervals = [future.result(PATIENCE_S) for future in futures]

    np.testing.assert_allclose([each.prediction.item() for each in intervals], range(4), atol=1e-4)
    assert [1, 4] == [len(rows) for rows in rows_of(server)]


@pytest.mark.parametrize("lacking", ["contract", "interval", "config"])
def test_a_model_without_an_interval_says_so(
    driver: Driver, server: LinearServer, lacking: str
) -> None:
    """And why; nothing is predicted."""
    contract = thermometer_contract()
    if lacking == "interval":
        contract.ClearField("interval")
        contract.tensors.ClearField("lower")
        contract.tensors.ClearField("upper")
    elif lacking == "config":
        server.absent = {"ModelConfig"}
    server.models["line"].contract = "" if lacking == "contract" else contracts.dumps(contract)
    reason = {
        "contract": "model 'line' at .* carries no contract",
        "interval": "model 'line' at .* has no prediction interval: ask predict",
        "config": "cannot send contracts: it has no ModelConfig",
    }[lacking]
    with pytest.raises(NoContractError, match=reason):
        driver.ask("predict_interval", "line", [32.0])

    assert server.requests == []


def test_an_interval_has_one_timeout_for_all_that_it_takes(
    driver: Driver, server: LinearServer, gate: Gate
) -> None:
    """What it asks about the model included."""
    error = driver.call("predict_interval", "line", [32.0], timeout=0.2).exception(PATIENCE_S)
    gate.open()

    assert isinstance(error, DeadlineExceededError)
