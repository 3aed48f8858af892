"""Feedback dealt to three servers: one Prometheus computes what numpy does over all rows."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from isotherm.client import Client
from tests.deploy.observability.prometheus import Prometheus, command
from tests.deploy.places import MODELS, ROOT
from tests.deploy.processes import eventually, running, tool
from tests.support.ports import free_port
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow

REPLICAS = 3
ROWS = 3000
_EXPRESSION = re.compile(r"^# (?P<name>\w+)\n(?P<expr>(?:[^#].*\n)+)", re.MULTILINE)


def expressions() -> dict[str, str]:
    """Return the page's expressions by what they compute."""
    page = (ROOT / "docs" / "feedback.md").read_text()
    (block,) = re.findall(r"^```promql\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return {match["name"]: match["expr"] for match in _EXPRESSION.finditer(block)}


@pytest.fixture(name="replicas", scope="module")
def _replicas() -> Iterator[list[Server]]:
    """Three servers of one model."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(serving(MODELS)) for _ in range(REPLICAS)]


@pytest.fixture(name="watcher", scope="module")
def _watcher(
    replicas: list[Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes all of them."""
    folder = tmp_path_factory.mktemp("prometheus")
    targets = [f"127.0.0.1:{server.metrics_port}" for server in replicas]
    job = {"job_name": "isotherm", "static_configs": [{"targets": targets}]}
    config: Path = folder / "prometheus.yml"
    config.write_text(
        yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": [job]})
    )
    prometheus = Prometheus(free_port())
    program = tool("prometheus", "Debian's prometheus")
    with running(command(program, config, prometheus.port), folder / "log"):
        eventually(prometheus.ready, within_s=60, what="Prometheus")
        yield prometheus


def test_sums_of_three_servers_are_one_computation_over_all_rows(
    replicas: list[Server], watcher: Prometheus
) -> None:
    """Rows are dealt at random; the page's expressions are numpy's figures."""
    rng = np.random.default_rng(3)
    truth = rng.normal(12, 9, ROWS)
    prediction = truth + rng.normal(0.7, 1.6, ROWS)
    dealt = rng.integers(0, REPLICAS, ROWS)
    half_widths: set[float] = set()
    for number, server in enumerate(replicas):
        rows = dealt == number
        with Client(server.address) as client:
            client.feedback("thermometer", prediction[rows], truth[rows])
            half_widths.update(client.contract("thermometer").interval.half_width)
    (half_width,) = half_widths
    errors = prediction - truth
    expected = {
        "rmse": np.sqrt((errors**2).mean()),
        "mae": np.abs(errors).mean(),
        "bias": errors.mean(),
        "r2": 1 - (errors**2).sum() / ((truth - truth.mean()) ** 2).sum(),
        "interval_coverage": (np.abs(errors) <= half_width).mean(),
    }

    eventually(
        lambda: value(watcher, "sum(isotherm_feedback_rows_total)") == ROWS,
        what="a scrape of all rows",
    )
    found = {name: value(watcher, expr) for name, expr in expressions().items()}

    assert found == pytest.approx(expected, rel=1e-9)


def value(prometheus: Prometheus, expr: str) -> float | None:
    """Return the one number that an expression yields; None while it yields nothing."""
    series = prometheus.query(expr)
    return float(series[0]["value"][1]) if len(series) == 1 else None
