"""The tables of the status page: a line a model version, a line a worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from isotherm.server.counters import Block
from isotherm.server.layout import ModelState, WorkerState
from isotherm.server.metrics import STUCK_AFTER_S
from isotherm.server.status_page.charts import sparkline
from isotherm.server.status_page.figures import NOTHING, number, seconds, share, size
from isotherm.server.status_page.history import SAMPLES, Key, Recent
from isotherm.server.status_page.markup import Markup, element
from isotherm.server.status_page.scrape import Drift, Scrape, Truth
from isotherm.server.totals import ModelTotals

_MODEL_COLUMNS: Final = (
    *("Model", "Version", "State", "Runs on", "SHA-256"),
    *("Requests / s", "Errors / s", "Rows / s", "Mean", "p50", "p99", "p99, five minutes"),
    *("Rows a batch", "Rows waiting"),
)
_QUALITY_COLUMNS: Final = (
    *("Model", "Version", "Rows compared", "Furthest column", "PSI", "Drift from"),
    *("Target", "RMSE", "In interval"),
)
_WORKER_COLUMNS: Final = ("Worker", "State", "Process", "Last beat", "Restarts", "Memory")
# Columns of text; the others are numbers, at the right.
_TEXT: Final = frozenset(
    (
        *("Model", "Version", "State", "Runs on", "SHA-256", "p99, five minutes"),
        *("Furthest column", "Target", "Worker", "Process"),
    )
)
_MODEL_MOODS: Final = {
    ModelState.READY: "good",
    ModelState.LOADING: "wait",
    ModelState.UNLOADING: "wait",
    ModelState.UNAVAILABLE: "bad",
    ModelState.UNKNOWN: "",
}
_WORKER_MOODS: Final = {
    WorkerState.SERVING: "good",
    WorkerState.STARTING: "wait",
    WorkerState.DRAINING: "wait",
    WorkerState.DOWN: "bad",
}


def models(totals: Sequence[ModelTotals], recent: Recent, steps: Sequence[Recent]) -> Markup:
    """Return the table of model versions."""
    return _table(_MODEL_COLUMNS, [_model(model, recent, steps) for model in _ordered(totals)])


def quality(totals: Sequence[ModelTotals], scrape: Scrape) -> Markup | None:
    """Return the table of drift and truth; None where nothing is known of either."""
    keys = [(model.name, model.version) for model in _ordered(totals)]
    lines = [line for key in keys for line in _quality(key, scrape)]
    return _table(_QUALITY_COLUMNS, lines) if lines else None


def workers(blocks: Sequence[Block], scrape: Scrape) -> Markup:
    """Return the table of workers."""
    return _table(
        _WORKER_COLUMNS, [_worker(slot, block, scrape) for slot, block in enumerate(blocks)]
    )


def _ordered(totals: Sequence[ModelTotals]) -> list[ModelTotals]:
    """Return versions by name, and the newest of a model first."""
    return sorted(totals, key=lambda model: (model.name, -model.version))


def _model(model: ModelTotals, recent: Recent, steps: Sequence[Recent]) -> list[Markup]:
    key: Key = model.name, model.version
    stretch = recent.of(key)
    curve = [step.of(key).quantile_s(0.99) for step in steps]
    return [
        _cell(element("b", model.name)),
        _cell(str(model.version)),
        _cell(_pill(model.state.name, _MODEL_MOODS[model.state])),
        _cell(model.provider or NOTHING),
        _cell(element("code", model.sha256 or NOTHING)),
        _cell(number(stretch.requests_per_s), "number"),
        _cell(number(stretch.errors_per_s), "number bad" if stretch.errors_per_s else "number"),
        _cell(number(stretch.rows_per_s), "number"),
        _cell(seconds(stretch.mean_s), "number"),
        _cell(seconds(stretch.quantile_s(0.5)), "number"),
        _cell(seconds(stretch.quantile_s(0.99)), "number"),
        _cell(sparkline(curve, places=SAMPLES - 1, label="p99 over the last five minutes")),
        _cell(number(stretch.batch_rows), "number"),
        _cell(f"{number(model.queue_rows)} of {number(model.queue_limit_rows)}", "number"),
    ]


def _quality(key: Key, scrape: Scrape) -> Iterator[list[Markup]]:
    """Yield a version's lines, one a target; none where nothing is known of it."""
    drift, truths = scrape.drift(key), scrape.truth(key)
    if drift is None and not truths:
        return
    for number_of_line, truth in enumerate(truths or [None]):
        first = number_of_line == 0
        name, version = (element("b", key[0]), str(key[1])) if first else ("", "")
        rows = number(scrape.window_rows(key)) if first else ""
        yield [
            _cell(name),
            _cell(version),
            _cell(rows, "number"),
            *(_drift(drift) if first else [_cell("")] * 3),
            *_truth(truth),
        ]


def _drift(drift: Drift | None) -> list[Markup]:
    if drift is None:
        return [_cell(NOTHING), _cell(NOTHING, "number"), _cell(NOTHING, "number")]
    over = drift.psi > drift.threshold
    return [
        _cell(drift.column),
        _cell(number(drift.psi), "number bad" if over else "number"),
        _cell(number(drift.threshold), "number"),
    ]


def _truth(truth: Truth | None) -> list[Markup]:
    if truth is None:
        return [_cell(NOTHING), _cell(NOTHING, "number"), _cell(NOTHING, "number")]
    return [
        _cell(truth.target),
        _cell(number(truth.rmse), "number"),
        _cell(share(truth.coverage), "number"),
    ]


def _worker(slot: int, block: Block, scrape: Scrape) -> list[Markup]:
    alive = block.state in {WorkerState.SERVING, WorkerState.DRAINING}
    age_s = block.heartbeat_age_s()
    stuck = alive and age_s >= STUCK_AFTER_S
    state = "STUCK" if stuck else block.state.name
    restarts = scrape.worker("isotherm_worker_restarts_total", slot)
    memory = scrape.worker("isotherm_worker_resident_memory_bytes", slot)
    return [
        _cell(element("b", str(slot))),
        _cell(_pill(state, "bad" if stuck else _WORKER_MOODS[block.state])),
        _cell(element("code", str(block.pid)) if block.pid else NOTHING),
        _cell(f"{seconds(age_s)} ago" if alive else NOTHING, "number"),
        _cell(number(restarts), "number bad" if restarts else "number"),
        _cell(size(memory), "number"),
    ]


def _table(columns: Sequence[str], rows: Sequence[Sequence[Markup]]) -> Markup:
    head = [
        element("th", name, scope="col", class_="text" if name in _TEXT else "number")
        for name in columns
    ]
    lines = [element("tr", *cells) for cells in rows]
    table = element("table", element("thead", element("tr", *head)), element("tbody", *lines))
    return element("div", table, class_="table")


def _cell(content: str, class_: str = "text") -> Markup:
    return element("td", content, class_=class_)


def _pill(text: str, mood: str) -> Markup:
    return element("span", text.lower(), class_=f"pill {mood}".strip())
