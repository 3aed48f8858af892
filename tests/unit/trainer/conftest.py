"""One trained thermometer for all of the trainer's tests: a fit and an export take seconds."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from torch.onnx._internal.exporter._registration import ONNXRegistry

from isotherm.trainer import data, estimator, run
from isotherm.trainer.config import DataConfig, FitConfig, TrainConfig
from isotherm.v1 import contract
from isotherm.v1.contract_pb2 import Contract

CREATED_AT = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(autouse=True, scope="session")
def _parsed_once() -> Iterator[None]:
    """PyTorch parses the source of all its operators for each export: most of an export's time.

    Each export gets a registry of its own, since it may add to it.
    """
    made = cache(ONNXRegistry.from_torchlib)

    def registry(*arguments: int, **options: int) -> ONNXRegistry:
        copied = copy(made(*arguments, **options))
        copied.functions = {target: [*found] for target, found in copied.functions.items()}
        return copied

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(registry))
        yield


@pytest.fixture(name="created_at", scope="session")
def _created_at() -> datetime:
    return CREATED_AT


@pytest.fixture(name="thermometer", scope="session")
def _thermometer() -> data.Table:
    return data.read(DataConfig(dataset="thermometer"))


@pytest.fixture(name="config", scope="session")
def _config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    return TrainConfig(
        name="thermometer",
        data=DataConfig(dataset="thermometer"),
        repository=tmp_path_factory.mktemp("trained") / "models",
        model="network",
        dpi=50,
    )


@pytest.fixture(name="published", scope="session")
def _published(config: TrainConfig) -> run.Published:
    return run.train(config, created_at=CREATED_AT)


@pytest.fixture(name="fitted", scope="session")
def _fitted(published: run.Published) -> estimator.Fitted:
    return published.fitted


@pytest.fixture(name="classified", scope="session")
def _classified() -> estimator.Fitted:
    """Thirty rows of three kinds that lie apart, but for a few."""
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 1, 2], 10)
    x = rng.normal(0, 1, (30, 2)) + 2.0 * np.stack([kind, -kind], axis=1)
    names = np.array(["cold", "mild", "warm"])[kind]
    columns = {"u": x[:, 0], "v": x[:, 1], "kind": names}
    table = data.table(columns, features=["u", "v"], targets=["kind"])
    settings = TrainConfig(
        name="kinds",
        data=DataConfig(dataset="in memory"),
        model="network",
        fit=FitConfig(epochs=50),
    )
    return estimator.fit(table, settings)


@pytest.fixture(name="content", scope="session")
def _content(published: run.Published) -> bytes:
    return published.path.read_bytes()


@pytest.fixture(name="described", scope="session")
def _described(content: bytes) -> Contract:
    import onnx

    model = onnx.load_from_string(content)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    return contract.loads(properties[contract.METADATA_KEY])


@pytest.fixture(name="csv")
def _csv(tmp_path: Path) -> Path:
    path = tmp_path / "house.csv"
    path.write_text("area,rooms,price\n50,2,100\n60,2,118\n80,3,161\n95,4,190\n120,5,238\n")
    return path
