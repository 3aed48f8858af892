"""Drift on the metrics page of a real server: from callers over two workers to the alarm."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from isotherm.client import Client
from tests.support import models, trained
from tests.support.rpc import error_of, infer_request
from tests.support.server import Server, eventually, serving
from tests.unit.server.fakes import session

FEATURES = 3
ROWS = 2000


def rows(seed: int) -> np.ndarray:
    """Return rows of the kind that the models were trained on."""
    return np.random.default_rng(seed).normal(1, 0.5, (ROWS, FEATURES)).astype(np.float32)


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of two workers and two models of one contract, and one without."""
    repository: Path = tmp_path_factory.mktemp("models")
    model = models.mlp((FEATURES, 8, 1))
    x = rows(seed=0)
    y = session(model).run([x])[0]
    described = models.with_contract(model, trained.contract(x, y))
    models.publish(repository, "steady", described)
    models.publish(repository, "shifted", described)
    models.publish(repository, "plain", model)
    with serving(repository, "--workers", "2") as server:
        yield server


def send(server: Server, name: str, x: np.ndarray) -> None:
    """Send rows by connections of two workers, not so fast that they are thinned."""
    with Client(server.address) as one, Client(server.address) as other:
        for index, part in enumerate(np.array_split(x, ROWS // 100)):
            (one, other)[index % 2].predict(name, part)
            time.sleep(0.08)


def gauge(page: str, family: str, name: str) -> dict[tuple[str, str], float]:
    """Return the values of a model's columns by (kind, column)."""
    found = re.findall(
        rf'^{family}\{{column="(\w+)",kind="(\w+)",model="{name}",version="1"\}} (\S+)$',
        page,
        re.MULTILINE,
    )
    return {(kind, column): float(value) for column, kind, value in found}


def alarms(page: str, name: str) -> set[str]:
    """Return the features of a model whose index is above its threshold."""
    index = gauge(page, "isotherm_drift_psi", name)
    threshold = gauge(page, "isotherm_drift_psi_threshold", name)
    assert set(index) == set(threshold)
    assert len(index) == FEATURES + 1
    return {
        column
        for (kind, column), value in index.items()
        if kind == "feature" and value > threshold[kind, column]
    }


def test_a_shift_in_one_feature_raises_one_alarm(server: Server) -> None:
    """Half a standard deviation, within 2 000 rows; the other model's rows raise none."""
    x = rows(seed=1)
    shifted = x.copy()
    shifted[:, 1] += 0.25
    send(server, "steady", x)
    send(server, "shifted", shifted)
    looked_at = [
        f'isotherm_drift_rows_total{{model="{name}",version="1"}}' for name in ("steady", "shifted")
    ]
    # All of them, but for a moment in which a busy machine had more in a heap than is looked at.
    assert eventually(lambda: all(server.metric(series) > 0.8 * ROWS for series in looked_at))
    assert all(server.metric(series) <= ROWS for series in looked_at)
    page = server.get("/metrics")[1]

    assert alarms(page, "steady") == set()
    assert alarms(page, "shifted") == {"f1"}
    shift = gauge(page, "isotherm_drift_mean_shift_ratio", "shifted")
    assert shift["feature", "f1"] == pytest.approx(0.5, abs=0.1)
    assert gauge(page, "isotherm_drift_spread_ratio", "steady")["prediction", "t0"] == (
        pytest.approx(1, abs=0.1)
    )
    window = server.metric('isotherm_drift_window_rows{model="steady",version="1"}')
    assert window == server.metric(looked_at[0])


def test_a_refused_row_is_counted_as_missing(server: Server) -> None:
    """The mistake of a caller whose client does not find it is the operator's signal."""
    column = 'column="f2",kind="feature",model="steady",version="1"'
    series = f"isotherm_drift_missing_total{{{column}}}"
    before = server.metric(series)
    request = infer_request("steady", x=np.array([[1, 1, np.nan]], np.float32))
    with grpc.insecure_channel(server.address) as channel:
        code, details = error_of(channel, "ModelInfer", request)

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "'f2'" in details
    assert eventually(lambda: server.metric(series) == before + 1)


def test_a_model_without_a_contract_is_not_watched(server: Server) -> None:
    with Client(server.address) as client:
        client.predict("plain", [[1.0, 1.0, 1.0]])

    assert not re.search(r'^isotherm_drift.*"plain"', server.get("/metrics")[1], re.MULTILINE)


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    """No ring, no series."""
    model = models.with_contract(models.doubling(), models.doubling_contract())
    models.publish(tmp_path, "doubling", model)
    with serving(tmp_path, "--drift-window", "0") as server:
        with Client(server.address) as client:
            client.predict("doubling", [[1.0]])
        page = server.get("/metrics")[1]

    assert not re.search(r"^isotherm_drift_.*\{", page, re.MULTILINE)
