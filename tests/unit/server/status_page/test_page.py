"""The status page, from blocks and metrics filled by hand."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from isotherm.server.counters import Block
from isotherm.server.layout import WORKER_HEARTBEAT_NS, ModelState, WorkerState
from isotherm.server.status_page.history import History
from isotherm.server.status_page.page import POLICY, StatusPage
from tests.unit.server.fakes import executed, succeeded

NOTHING = "\N{EN DASH}"
COLUMN = ("model", "version", "kind", "column")


class Server:
    """Two workers that serve a model."""

    def __init__(self, model: str = "boiler") -> None:
        self.now_s = 50.0
        self.blocks = [Block.create([]), Block.create([])]
        self.models = [block.open_model(model, 3) for block in self.blocks]
        for block, counters in zip(self.blocks, self.models, strict=True):
            block.state = WorkerState.SERVING
            block.pid = 4711
            block.beat()
            counters.loaded(provider="cpu", sha256="ab" * 32, load_ns=1, queue_limit_rows=500)
        self.families: list[Metric] = []
        self.history = History(self.blocks, lambda: self.now_s)

    def html(self) -> str:
        """Return the page ten seconds later."""
        self.now_s += 10
        return StatusPage(self.blocks, self.history, lambda: self.families).html()

    def gauge(self, name: str, labels: tuple[str, ...], *samples: tuple[list[str], float]) -> None:
        """Have the metrics say something."""
        family = GaugeMetricFamily(name, "Text.", labels=labels)
        for values, value in samples:
            family.add_metric(values, value)
        self.families.append(family)


def table(html: str, number: int) -> list[dict[str, str]]:
    """Return a table's rows: the text below each heading."""
    part = re.findall(r"<table>.*?</table>", html, re.DOTALL)[number]
    root = ET.fromstring(part)  # noqa: S314  our own page
    headings = ["".join(cell.itertext()) for cell in root.iter("th")]
    return [
        dict(zip(headings, ("".join(cell.itertext()) for cell in row.iter("td")), strict=True))
        for row in root.iter("tr")
        if row.find("td") is not None
    ]


def test_a_model_has_its_line():
    """State, file, rates, times, batches and queue, over both workers."""
    server = Server()
    for model in server.models:
        executed(model, 10, 1, 1, 1)
        succeeded(model, [0] * 10, 0, 2_000_000, 0)
        model.queue(3, 20)
    server.models[0].refuse(3)
    (line,) = table(server.html(), 0)

    assert line["Model"] == "boiler"
    assert (line["Version"], line["State"], line["Runs on"]) == ("3", "ready", "cpu")
    assert line["SHA-256"] == "abababababab"
    assert (line["Requests / s"], line["Errors / s"], line["Rows / s"]) == ("2.1", "0.1", "2")
    assert (line["Mean"], line["p99"]) == ("2 ms", "2.48 ms")
    assert (line["Rows a batch"], line["Rows waiting"]) == (
        "10",
        "40 of 1\N{NARROW NO-BREAK SPACE}000",
    )


def test_versions_stand_in_order():
    """By name, and the newest version first."""
    server = Server()
    for name, version in (("boiler", 10), ("ant", 1)):
        server.blocks[0].open_model(name, version)
    lines = [(line["Model"], line["Version"]) for line in table(server.html(), 0)]

    assert lines == [("ant", "1"), ("boiler", "10"), ("boiler", "3")]


def test_drift_names_the_column_that_is_furthest_from_its_training():
    """By its share of what is allowed, not by its size; red when that is more than all of it."""
    server = Server()
    large, small = ["boiler", "3", "feature", "large"], ["boiler", "3", "feature", "small"]
    server.gauge("isotherm_drift_psi", COLUMN, (large, 0.3), (small, 0.2))
    server.gauge("isotherm_drift_psi_threshold", COLUMN, (large, 0.5), (small, 0.1))
    server.gauge("isotherm_drift_window_rows", ("model", "version"), (["boiler", "3"], 400))
    html = server.html()
    (line,) = table(html, 1)

    assert line == {
        "Model": "boiler",
        "Version": "3",
        "Rows compared": "400",
        "Furthest column": "small",
        "PSI": "0.2",
        "Drift from": "0.1",
        "Target": NOTHING,
        "RMSE": NOTHING,
        "In interval": NOTHING,
    }
    assert '<td class="number bad">0.2</td>' in html


def test_a_column_within_its_threshold_is_not_red():
    """Chance is no news."""
    server = Server()
    column = ["boiler", "3", "feature", "x"]
    server.gauge("isotherm_drift_psi", COLUMN, (column, 0.02))
    server.gauge("isotherm_drift_psi_threshold", COLUMN, (column, 0.1))

    assert '<td class="number">0.02</td>' in server.html()


def test_the_truth_is_shown_target_by_target():
    """RMSE, and the share of truths within their interval where there is one."""
    server = Server()
    labels = ("model", "version", "target")
    one, two = ["boiler", "3", "one"], ["boiler", "3", "two"]
    server.gauge("isotherm_feedback_rmse", labels, (one, 1.5), (two, 20))
    server.gauge("isotherm_feedback_interval_coverage", labels, (one, 0.9))
    first, second = table(server.html(), 1)

    assert (first["Model"], first["Target"], first["RMSE"]) == ("boiler", "one", "1.5")
    assert (second["Model"], second["Target"], second["RMSE"]) == ("", "two", "20")
    assert (first["In interval"], second["In interval"]) == ("90 %", NOTHING)


def test_without_drift_and_truth_there_is_no_table_of_them():
    """NaN is how a gauge says that it does not know."""
    server = Server()
    labels = ("model", "version", "target")
    server.gauge("isotherm_feedback_rmse", labels, (["boiler", "3", "one"], float("nan")))

    assert "Data and truth" not in server.html()


def test_workers_have_their_lines():
    """State, process, and what the metrics say of them."""
    server = Server()
    server.gauge("isotherm_worker_resident_memory_bytes", ("worker",), (["0"], 100 << 20))
    restarts = CounterMetricFamily("isotherm_worker_restarts", "Text.", labels=("worker",))
    restarts.add_metric(["0"], 2)
    server.families.append(restarts)
    server.blocks[1].state = WorkerState.DOWN
    server.blocks[1].pid = 0
    first, second = table(server.html(), 1)

    assert (first["State"], first["Process"]) == ("serving", "4711")
    assert (first["Restarts"], first["Memory"]) == ("2", "100 MiB")
    assert (second["State"], second["Process"], second["Memory"]) == (
        "down",
        NOTHING,
        NOTHING,
    )


def test_a_worker_whose_loop_stands_still_is_stuck():
    """Whatever it says of itself."""
    server = Server()
    server.blocks[0].words[WORKER_HEARTBEAT_NS] -= 60 * 10**9
    first, second = table(server.html(), 1)

    assert (first["State"], second["State"]) == ("stuck", "serving")


@pytest.mark.parametrize(
    ("worker", "model", "said"),
    [
        (WorkerState.SERVING, ModelState.READY, "ready"),
        (WorkerState.SERVING, ModelState.UNAVAILABLE, "not ready"),
        (WorkerState.STARTING, ModelState.LOADING, "starting"),
        (WorkerState.DRAINING, ModelState.READY, "draining"),
    ],
)
def test_the_head_says_how_the_server_is(worker: WorkerState, model: ModelState, said: str):
    """In the title too, which is what a tab shows."""
    server = Server()
    server.blocks[0].state = worker
    server.models[0].state = model
    html = server.html()

    assert f"<title>Isotherm: {said}</title>" in html
    assert f">{said}</span>" in html


def test_nothing_that_a_name_says_becomes_markup():
    """Names come from folders and contracts, which others may have written."""
    server = Server(model="<script>alert(1)</script>")
    column = ["<script>alert(1)</script>", "3", "feature", '"><img src=x>']
    server.gauge("isotherm_drift_psi", COLUMN, (column, 0.9))
    server.gauge("isotherm_drift_psi_threshold", COLUMN, (column, 0.1))
    html = server.html()

    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;" in html


def test_the_page_is_complete_in_itself():
    """No script, and nothing that is loaded from anywhere."""
    html = Server().html()

    assert re.findall(r"<script|<link|<img|<iframe|url\(|@import|style=|https?://", html) == []
    assert "default-src 'none'" in POLICY
    assert set(re.findall(r'href="([^"]*)"', html)) == {"/metrics", "/healthz", "/v2/health/ready"}


def test_the_page_is_well_formed():
    """Every element is closed, so that every browser draws the same."""
    server = Server()
    succeeded(server.models[0], [0] * 3, 0, 1_000_000, 0)
    server.now_s += 5
    server.history.sample()
    html = server.html()
    body = html[html.index("<body>") : html.index("</body>") + len("</body>")]
    root = ET.fromstring(body)  # noqa: S314  our own page

    # One step: a curve of one point is a dot, in each chart and in the model's line.
    assert len(list(root.iter("circle"))) == 5
    assert html.startswith("<!DOCTYPE html>")


def test_curves_have_gaps_where_nothing_was_answered():
    """A latency of nothing is not zero."""
    server = Server()
    for answers in (3, 3, 0, 3, 3):
        succeeded(server.models[0], [0] * answers, 0, 1_000_000, 0)
        server.now_s += 5
        server.history.sample()
    html = server.html()
    latency = html[html.index("<b>Latency</b>") : html.index("<h2>Models")]
    rates = html[html.index("<b>Requests per second</b>") : html.index("<b>Latency</b>")]

    assert latency.count('class="curve curve-0"') == 2
    assert rates.count('class="curve curve-0"') == 1
