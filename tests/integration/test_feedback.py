"""Feedback on real servers: their metrics against numpy over the same rows."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import grpc
import numpy as np
import pytest

from isotherm.client import AccessDeniedError, Client, InvalidInputError, RemoteError
from tests.support import models
from tests.support.server import Server, eventually, serving

TOKEN = "ground-truth"  # noqa: S105  made up
ROWS = 4000
WORKERS = 2


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory, transport: str) -> Iterator[Server]:
    """Two workers that ask for a token, with models of several kinds."""
    folder = tmp_path_factory.mktemp("models")
    contract = models.doubling_contract()
    contract.targets[0].name = "low"
    contract.targets[0].mean, contract.targets[0].standard_deviation = -3.0, 2.0
    contract.targets.add(name="high", datatype="FP32", mean=70.0, standard_deviation=5.0)
    contract.golden.Clear()
    models.publish(folder, "pair", models.with_contract(models.mlp((1, 3, 2)), contract), 2)
    models.publish(folder, "labelled", models.labelled())
    models.publish(folder, "plain", models.doubling())
    tokens = folder.parent / f"{folder.name}-tokens"
    tokens.touch(0o600)
    tokens.write_text(TOKEN)
    flags = ("--workers", str(WORKERS), "--auth-token-file", str(tokens))
    with serving(folder, *flags, "--transport", transport) as server:
        yield server


def report(server: Server, prediction: np.ndarray, truth: np.ndarray, width: np.ndarray) -> None:
    """Report rows on several connections, which are dealt to the workers."""
    for part in np.array_split(np.arange(len(truth)), 16):
        with Client(server.address, token=TOKEN) as client:
            version = client.feedback(
                "pair",
                prediction[part],
                truth[part],
                lower=prediction[part] - width[part],
                upper=prediction[part] + width[part],
            )
            assert version == "2"


def metric(server: Server, name: str, target: str, sign: str = "") -> float:
    """Return one series of the model."""
    signed = f'sign="{sign}",' if sign else ""
    labels = f'model="pair",{signed}target="{target}",version="2"'
    return server.metric(f"isotherm_feedback_{name}{{{labels}}}")


def test_two_workers_show_what_numpy_computes_and_a_killed_one_loses_nothing(
    server: Server,
) -> None:
    """Counters and gauges of both targets, before and after."""
    rng = np.random.default_rng(11)
    truth = rng.normal([-3, 70], [2, 5], (ROWS, 2))
    prediction = truth + rng.normal([0.5, -0.1], [1, 3], (ROWS, 2))
    width = rng.uniform(0, 4, (ROWS, 2))
    half = ROWS // 2
    report(server, prediction[:half], truth[:half], width[:half])
    rows = metric(server, "rows_total", "low")
    os.kill(server.workers()[0], signal.SIGKILL)
    assert eventually(lambda: not server.ready())
    assert eventually(server.ready, 30)

    assert rows == metric(server, "rows_total", "low") == half
    report(server, prediction[half:], truth[half:], width[half:])
    errors = prediction - truth
    variance = ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
    for index, target in enumerate(("low", "high")):
        error = errors[:, index]
        assert metric(server, "rows_total", target) == ROWS
        over, under = (metric(server, "error_total", target, sign) for sign in ("over", "under"))
        assert over == pytest.approx(np.maximum(error, 0).sum())
        assert under == pytest.approx(np.maximum(-error, 0).sum())
        assert metric(server, "squared_error_total", target) == pytest.approx((error**2).sum())
        assert metric(server, "mae", target) == pytest.approx(np.abs(error).mean())
        assert metric(server, "rmse", target) == pytest.approx(np.sqrt((error**2).mean()))
        assert metric(server, "bias", target) == pytest.approx(error.mean())
        assert metric(server, "r2", target) == pytest.approx(1 - (error**2).sum() / variance[index])
        covered = (np.abs(error) <= width[:, index]).mean()
        assert metric(server, "interval_coverage", target) == pytest.approx(covered)


def test_a_model_of_labels_says_why_it_takes_none(server: Server) -> None:
    """With a status of its own, which is not that of a server without the service."""
    with (
        Client(server.address, token=TOKEN) as client,
        pytest.raises(RemoteError, match="its target 'kind' is a label") as caught,
    ):
        client.feedback("labelled", [[0.5, 0.5]], [[0, 1]])

    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION


def test_a_wrong_report_counts_nothing(server: Server) -> None:
    """Also not its good rows."""
    with (
        Client(server.address, token=TOKEN) as client,
        pytest.raises(InvalidInputError, match="truth of 'high' in row 1 is 1e"),
    ):
        client.feedback("pair", np.array([[-3, 70]] * 2), np.array([[-3, 70], [-3, 1e9]]))

    assert metric(server, "rows_total", "high") in {0, ROWS}


def test_a_stranger_reports_nothing(server: Server) -> None:
    """The token is asked for as by every call."""
    with Client(server.address) as client, pytest.raises(AccessDeniedError):
        client.feedback("plain", [1], [1])

    assert server.metric('isotherm_feedback_rows_total{model="plain",target="y",version="1"}') == 0


def test_calls_are_counted_by_name(server: Server) -> None:
    """Like every other method."""
    with Client(server.address, token=TOKEN) as client:
        client.feedback("plain", [1.5], [1])
    series = (
        'grpc_server_handled_total{grpc_code="OK",grpc_method="Report",'
        'grpc_service="isotherm.v1.Feedback",grpc_type="unary"}'
    )

    assert server.metric(series) >= 1
    assert server.metric('isotherm_feedback_bias{model="plain",target="y",version="1"}') == 0.5
