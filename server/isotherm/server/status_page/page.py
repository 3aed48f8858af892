"""The status page: the state of the server, and the last minutes of its models."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from typing import Final

from prometheus_client.metrics_core import Metric

from isotherm.server import metrics
from isotherm.server.counters import Block
from isotherm.server.layout import WorkerState
from isotherm.server.status_page import tables
from isotherm.server.status_page.charts import chart
from isotherm.server.status_page.figures import number, seconds, span
from isotherm.server.status_page.history import INTERVAL_S, SAMPLES, History, Recent, Stretch
from isotherm.server.status_page.markup import Markup, element, join
from isotherm.server.status_page.scrape import Scrape
from isotherm.server.status_page.style import STYLE
from isotherm.server.totals import total

# What a rate is taken over, and how often a browser asks for the page again.
WINDOW_S: Final = 60.0
REFRESH_S: Final = 5
CONTENT_TYPE: Final = "text/html; charset=utf-8"

_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
# No script, no image, no font, no frame, no form: nothing but this page and its own style sheet.
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SPAN: Final = f"\N{MINUS SIGN}{INTERVAL_S * (SAMPLES - 1) / 60:.0f} min"


class StatusPage:
    """Writes the page from the workers' blocks, their history and the metrics."""

    def __init__(
        self, blocks: Sequence[Block], history: History, collect: Callable[[], Iterable[Metric]]
    ) -> None:
        """`collect` yields the families that a scrape would show."""
        self._blocks = blocks
        self._history = history
        self._collect = collect
        self._started_at = time.monotonic()
        self._version = metadata.version("isotherm")

    def html(self) -> str:
        """Return the page as it is now."""
        recent, steps = self._history.last(WINDOW_S), self._history.steps()
        models = total(self._blocks)
        scrape = Scrape(self._collect())
        waiting = sum(model.queue_rows for model in models)
        body = element(
            "body",
            self._header(),
            _tiles(recent.of_all(), waiting),
            _charts(steps),
            element("h2", "Models"),
            tables.models(models, recent, steps),
            *_quality(tables.quality(models, scrape)),
            element("h2", "Workers"),
            tables.workers(self._blocks, scrape),
            _footer(),
        )
        head = element(
            "head",
            Markup('<meta charset="utf-8">'),
            Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Markup(f'<meta http-equiv="refresh" content="{REFRESH_S}">'),
            element("title", f"Isotherm: {self._state()[0]}"),
            element("style", Markup(STYLE)),
        )
        return join(Markup("<!DOCTYPE html>"), element("html", head, body, lang="en"), "\n")

    def _header(self) -> Markup:
        text, mood = self._state()
        serving = sum(block.state is WorkerState.SERVING for block in self._blocks)
        up = span(time.monotonic() - self._started_at)
        return element(
            "header",
            element("h1", "Isotherm"),
            element("span", text, class_=f"pill {mood}"),
            element(
                "span",
                f"version {self._version} \N{MIDDLE DOT} up {up} \N{MIDDLE DOT} "
                f"{serving} of {len(self._blocks)} workers serve",
                class_="soft",
            ),
        )

    def _state(self) -> tuple[str, str]:
        """Return the state of the server, and the mood of its colour."""
        if any(block.state is WorkerState.DRAINING for block in self._blocks):
            return "draining", "wait"
        if metrics.ready(self._blocks):
            return "ready", "good"
        starting = any(block.state is WorkerState.STARTING for block in self._blocks)
        return ("starting", "wait") if starting else ("not ready", "bad")


def _tiles(stretch: Stretch, waiting: int) -> Markup:
    errors = stretch.errors_per_s
    tiles = [
        _tile("Requests / s", number(stretch.requests_per_s)),
        _tile("Errors / s", number(errors), "bad" if errors else ""),
        _tile("Rows / s", number(stretch.rows_per_s)),
        _tile("Mean latency", seconds(stretch.mean_s)),
        _tile("p50", seconds(stretch.quantile_s(0.5))),
        _tile("p99", seconds(stretch.quantile_s(0.99))),
        _tile("Rows a batch", number(stretch.batch_rows)),
        _tile("Rows waiting now", number(waiting)),
    ]
    return element("section", *tiles, class_="tiles")


def _quality(table: Markup | None) -> list[Markup]:
    return [] if table is None else [element("h2", "Data and truth"), table]


def _tile(name: str, value: str, mood: str = "") -> Markup:
    return element("div", element("span", name), element("b", value), class_=f"tile {mood}".strip())


def _charts(steps: Sequence[Recent]) -> Markup:
    stretches = [step.of_all() for step in steps]
    places = SAMPLES - 1
    rates = {
        "requests": [each.requests_per_s for each in stretches],
        "errors": [each.errors_per_s for each in stretches],
    }
    times = {
        "p50": [each.quantile_s(0.5) for each in stretches],
        "p99": [each.quantile_s(0.99) for each in stretches],
    }
    return element(
        "section",
        chart("Requests per second", rates, places=places, span=_SPAN, scale=number),
        chart("Latency", times, places=places, span=_SPAN, scale=seconds),
        class_="charts",
    )


def _footer() -> Markup:
    return element(
        "footer",
        f"Rates, latencies and batches are those of the last {WINDOW_S:.0f} s; latencies are of "
        f"requests answered with OK. The page is drawn anew every {REFRESH_S} s. ",
        element("a", "/metrics", href="/metrics"),
        " \N{MIDDLE DOT} ",
        element("a", "/v2/health/ready", href="/v2/health/ready"),
        " \N{MIDDLE DOT} ",
        element("a", "/healthz", href="/healthz"),
    )
