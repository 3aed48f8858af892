"""From a training to MLflow's registry, and from the registry's files to predictions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from isotherm.client import Client, Prediction
from isotherm.trainer import config, run
from isotherm.trainer.__main__ import now
from isotherm.trainer.tracking import tracker
from tests.support.server import eventually, serving

pytestmark = [
    pytest.mark.slow,
    # MLflow's with the SQLAlchemy of now.
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]

FAHRENHEIT = np.arange(20.0, 91.0, dtype=np.float32)[:, None]

# MLflow's own ways to load a model of the registry, in a process that knows nothing of Isotherm.
LOADED = """
import json, sys
import mlflow, numpy
mlflow.set_tracking_uri(sys.argv[1])
import mlflow.onnx
x = numpy.array(json.loads(sys.argv[2]), dtype=numpy.float32)
assert mlflow.onnx.load_model("models:/celsius/2").graph.name == "thermometer"
answer = mlflow.pyfunc.load_model("models:/celsius/2").predict(x)
print(json.dumps({name: value.tolist() for name, value in answer.items()}))
"""


@pytest.fixture(name="store", scope="module")
def _store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(name="published", scope="module")
def _published(store: Path) -> run.Published:
    """Two versions, of which the second is asked for below."""
    settings = config.load(
        None,
        {
            "data.dataset": "thermometer",
            "fit.epochs": 200,
            "model": "network",
            "repository": store / "models",
            "tracking.mlflow": f"sqlite:///{store}/mlflow.db",
            "tracking.register": "celsius",
        },
    )
    published = []
    with pytest.MonkeyPatch.context() as patch:
        # Where MLflow puts its files is where it is used.
        patch.chdir(store)
        for seed in (0, 1):
            fit = settings.fit.model_copy(update={"seed": seed})
            one = settings.model_copy(update={"fit": fit})
            tracking = tracker.of(one, now())
            published.append(run.train(one, created_at=now()))
            tracking.tell(published[-1].path, published[-1].parity, [])
    return published[-1]


def folder_of(store: Path, version: str) -> Path:
    from mlflow import MlflowClient

    uri = f"sqlite:///{store}/mlflow.db"
    return Path(MlflowClient(uri, uri).get_model_version_download_uri("celsius", version))


def expected(published: run.Published) -> list[np.ndarray]:
    import torch

    with torch.no_grad():
        return [answer.numpy() for answer in published.fitted.served(torch.tensor(FAHRENHEIT))]


def test_a_registered_model_is_served_by_path(store: Path, published: run.Published) -> None:
    """With the version that the training gave it; every answer is torch's."""
    folder = folder_of(store, "2")
    with serving(folder) as server, Client(server.address) as client:
        contract = client.contract("thermometer")
        served = client.predict("thermometer", FAHRENHEIT)
        announced = eventually(lambda: "serving thermometer/2" in server.log)

    assert isinstance(served, Prediction)
    assert announced
    assert contract.features[0].unit == "degF"
    for found, wanted in zip(
        (served.y, served.lower, served.upper), expected(published), strict=True
    ):
        np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=0)


def test_mlflow_loads_what_was_registered(store: Path, published: run.Published) -> None:
    """As an ONNX model, and as a function of arrays."""
    answered = subprocess.run(
        [sys.executable, "-c", LOADED, f"sqlite:///{store}/mlflow.db", str(FAHRENHEIT.tolist())],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
    )

    assert answered.returncode == 0, answered.stderr
    found = json.loads(answered.stdout.splitlines()[-1])
    for name, wanted in zip(("y", "lower", "upper"), expected(published), strict=True):
        np.testing.assert_allclose(found[name], wanted, atol=1e-5, rtol=0)
