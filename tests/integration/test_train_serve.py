"""The whole way: the seed's readings in, a published model, served predictions out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from isotherm.client import Client, Prediction
from isotherm.trainer import config, run
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow

FAHRENHEIT = np.arange(20.0, 91.0, dtype=np.float32)[:, None]


@pytest.fixture(name="repository", scope="module")
def _repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that training has yet to fill."""
    return tmp_path_factory.mktemp("trained") / "models"


@pytest.fixture(name="published", scope="module")
def _published(repository: Path) -> dict[str, run.Published]:
    """The line and the network, each under its own name."""
    return {kind: publish(repository, kind) for kind in ("line", "network")}


@pytest.fixture(name="trained_server", scope="module")
def _trained_server(repository: Path, published: dict[str, run.Published]) -> Iterator[Server]:
    """A server of what was published."""
    assert published
    with serving(repository) as server:
        yield server


def publish(repository: Path, kind: str) -> run.Published:
    """Train on all eleven readings and publish."""
    settings = config.load(
        None,
        {
            "data.dataset": "thermometer",
            "name": kind,
            "repository": repository,
            "model": kind,
        },
    )
    return run.train(settings, created_at=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("kind", ["line", "network"])
def test_the_served_answer_is_torch_s(
    trained_server: Server, published: dict[str, run.Published], kind: str
) -> None:
    """Within 1e-5 degrees, over the whole range of the picture."""
    import torch

    with Client(trained_server.address) as client:
        served = client.predict(kind, FAHRENHEIT)
    assert isinstance(served, Prediction)
    with torch.no_grad():
        expected, lower, upper = (
            answer.numpy() for answer in published[kind].fitted.served(torch.tensor(FAHRENHEIT))
        )

    np.testing.assert_allclose(served.y, expected, atol=1e-5, rtol=0)
    np.testing.assert_allclose(served.lower, lower, atol=1e-5, rtol=0)
    np.testing.assert_allclose(served.upper, upper, atol=1e-5, rtol=0)


def test_the_served_line_is_the_closed_form(
    trained_server: Server, published: dict[str, run.Published]
) -> None:
    """Slope 5.3677 and intercept -17.3048 a tenth of a reading, mean squared error 2.928."""
    table = published["line"].fitted.table
    with Client(trained_server.address) as client:
        zero, ten = np.ravel(client.predict("line", [0.0, 10.0], outputs="y"))
        residuals = client.predict("line", table.x, outputs="y") - table.y

    assert (5.3677, -17.3048) == (round(float(ten - zero), 4), round(float(zero), 4))
    assert round(float(np.mean(residuals**2)), 3) == 2.928


def test_the_contract_that_was_written_is_the_one_that_is_served(
    trained_server: Server, published: dict[str, run.Published]
) -> None:
    """Units, range and provenance reach the client."""
    assert published
    with Client(trained_server.address) as client:
        contract = client.contract("network")

    (feature,), (target,) = contract.features, contract.targets
    assert ("t_u", "degF", "t_c", "degC") == (
        feature.name,
        feature.unit,
        target.name,
        target.unit,
    )
    assert round(feature.minimum, 3) == 21.8
    assert round(feature.maximum, 3) == 81.9
    assert contract.provenance.rows == 11
    assert {"mean", "line", "network"} == {c.name for c in contract.provenance.leaderboard}
