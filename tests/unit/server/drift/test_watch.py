"""The supervisor's side: what comes from several workers becomes one account of a model."""

from __future__ import annotations

import time

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest

from isotherm.server.counters import Block
from isotherm.server.drift import watch as watches
from isotherm.server.drift.collector import DriftCollector
from isotherm.server.drift.ring import Reader, Writer
from isotherm.server.drift.watch import ROWS_PER_S, Watch
from isotherm.server.layout import ModelState, WorkerState
from tests.support import trained
from tests.support.server import eventually
from tests.unit.server.drift.workers import Workers, columns, drifted


def normal(rows: int, seed: int, features: int = 2):
    """Return rows as FP32: features, and as many sums of them as predictions."""
    x = np.random.default_rng(seed).normal(50, 10, (rows, features)).astype(np.float32)
    return x, x.sum(axis=1, keepdims=True)


@pytest.fixture(name="contract", scope="module")
def _contract():
    """What a model of two features was trained on."""
    return trained.contract(*normal(5000, seed=0))


def test_rows_of_all_workers_are_one_account(contract):
    workers = Workers(2)
    for slot in range(2):
        x, y = normal(600, seed=slot + 1)
        workers.load(slot, contract)([x], [y])
    report = workers.report()
    found = columns(report)

    assert (report.name, report.version, report.rows, report.window_rows) == ("m", 1, 1200, 1200)
    assert [(c.column.kind, c.column.name) for c in report.columns] == [
        ("feature", "f0"),
        ("feature", "f1"),
        ("prediction", "t0"),
    ]
    assert [sum(column.bins) for column in report.columns] == [1200] * 3
    for column in found.values():
        assert column.psi is not None
        assert column.psi_threshold is not None
        assert 0 < column.psi < 0.03 < column.psi_threshold
        assert column.mean_shift == pytest.approx(0, abs=0.15)
        assert column.spread == pytest.approx(1, abs=0.1)


def test_what_the_metrics_page_shows(contract):
    """Every family, with a row that is missing, one that is infinite and one out of range."""
    workers = Workers(1)
    x, y = normal(300, seed=1)
    x[0, 0], x[1, 0], x[2, 0] = np.nan, np.inf, 1000
    workers.load(0, contract)([x], [y])
    registry = CollectorRegistry()
    registry.register(DriftCollector(workers.watch))
    text = generate_latest(registry).decode()
    model = 'model="m",version="1"'
    column = f'column="f0",kind="feature",{model}'

    for line in (
        f"isotherm_drift_rows_total{{{model}}} 300.0",
        f"isotherm_drift_window_rows{{{model}}} 300.0",
        f"isotherm_drift_missing_total{{{column}}} 1.0",
        f"isotherm_drift_infinite_total{{{column}}} 1.0",
        f"isotherm_drift_out_of_range_total{{{column}}} ",
        f'isotherm_drift_bin_rows_total{{bin="0",{column}}} ',
        f'isotherm_drift_reference_ratio{{bin="9",{column}}} 0.1',
        f"isotherm_drift_psi{{{column}}} 0.0",
        f"isotherm_drift_psi_threshold{{{column}}} 0.",
        f"isotherm_drift_mean_shift_ratio{{{column}}} ",
        f"isotherm_drift_spread_ratio{{{column}}} ",
        f'isotherm_drift_psi{{column="t0",kind="prediction",{model}}} 0.0',
    ):
        assert f"\n{line}" in text


def test_rows_that_the_model_refused_are_counted_where_they_are_no_numbers(contract):
    """They were not run, so nothing else of them counts."""
    workers = Workers(1)
    look = workers.load(0, contract)
    look.refused(np.array([[np.nan, 1], [np.inf, 1], [np.nan, np.nan]], np.float32))
    found = columns(workers.report())

    assert workers.report().rows == 0
    assert [(c.missing, c.infinite) for c in found.values()] == [(2, 1), (1, 0), (0, 0)]
    assert found["f0"].bins == [0] * 10


def test_before_the_first_row_there_is_nothing(contract):
    workers = Workers(1)
    workers.load(0, contract)

    assert workers.watch.reports() == []


def test_few_training_rows_give_no_index(contract):
    """With fewer than 200 the histogram itself is chance: ranges, mean and spread are left."""
    workers = Workers(1)
    x, y = normal(2000, seed=1)
    workers.load(0, trained.contract(*normal(150, seed=0)))([x], [y])
    column = columns(workers.report())["f0"]

    assert (column.psi, column.psi_threshold) == (None, None)
    assert column.out_of_range is not None
    assert column.out_of_range > 0
    assert column.mean_shift is not None
    assert column.spread == pytest.approx(1, abs=0.2)


def test_a_window_of_few_rows_gives_no_index(contract):
    workers = Workers(1)
    x, y = normal(199, seed=1)
    look = workers.load(0, contract)
    look([x], [y])
    assert columns(workers.report())["f0"].psi is None
    look([x[:1]], [y[:1]])

    assert columns(workers.report())["f0"].psi is not None


def test_the_window_forgets_and_the_totals_do_not(contract):
    workers = Workers(1, window_s=0.12)
    x, y = normal(1000, seed=1)
    look = workers.load(0, contract)
    look([x + 20], [y + 40])
    assert drifted(workers.report()) == ["f0", "f1", "t0"]
    assert eventually(lambda: workers.report().window_rows == 0)
    column = columns(workers.report())["f0"]

    assert workers.report().rows == 1000
    assert (column.psi, column.mean_shift, column.spread) == (None, None, None)
    look([x], [y])
    assert drifted(workers.report()) == []


def test_a_contract_without_a_histogram_is_watched_as_far_as_it_goes(contract):
    """A contract older than the predictions' histogram has the target's range alone."""
    older = type(contract)()
    older.CopyFrom(contract)
    older.targets[0].ClearField("predictions")
    workers = Workers(1)
    x, y = normal(1000, seed=1)
    workers.load(0, older)([x], [y])
    column = columns(workers.report())["t0"]

    assert (column.psi, column.mean_shift, column.spread, column.bins) == (None, None, None, [])
    target = contract.targets[0]
    assert column.out_of_range == int(((y < target.minimum) | (y > target.maximum)).sum())


def test_a_model_that_no_worker_has_any_more_is_forgotten(contract):
    workers = Workers(2)
    x, y = normal(10, seed=1)
    for slot in range(2):
        workers.load(slot, contract)([x], [y])
    workers.blocks[0].open_model("m", 1).state = ModelState.UNKNOWN
    assert workers.report().rows == 20
    workers.blocks[1].open_model("m", 1).state = ModelState.UNKNOWN

    assert workers.watch.reports() == []


def test_the_death_of_the_only_worker_loses_no_counts(contract):
    """Its successor finds the ring as it was left, and goes on."""
    workers = Workers(1)
    x, y = normal(10, seed=1)
    workers.load(0, contract)([x], [y])
    workers.blocks[0].state = WorkerState.DOWN
    workers.blocks[0].open_model("m", 1).state = ModelState.UNKNOWN
    assert workers.report().rows == 10
    workers.load(0, contract)([x], [y])
    workers.blocks[0].state = WorkerState.SERVING

    assert workers.report().rows == 20


def test_a_version_whose_contract_is_another_begins_anew(contract):
    """The same number on other bins."""
    workers = Workers(1)
    x, y = normal(1000, seed=1)
    workers.load(0, contract)([x], [y])
    assert workers.report().rows == 1000
    shifted = trained.contract(x + 20, y + 40)
    workers.load(0, shifted)([x + 20], [y + 40])

    assert workers.report().rows == 1000
    assert drifted(workers.report()) == []


def test_all_workers_are_asked_for_the_same_share(contract, monkeypatch):
    """By the rows that all of them see."""
    monkeypatch.setattr(watches, "_STRIDE_S", 0.0)
    workers = Workers(2)
    taps = [workers.load(slot, contract) for slot in range(2)]
    x, y = normal(4096, seed=1)
    taps[1]([x[:1]], [y[:1]])
    workers.watch.fold()
    begin = time.monotonic()
    for _ in range(100):
        taps[0]([x], [y])
        workers.watch.fold()
    passed_s = time.monotonic() - begin
    strides = [_stride(workers, slot, tap.number) for slot, tap in enumerate(taps)]

    assert strides[0] == strides[1] > 1
    # A burst may be over before anybody is asked for less of it.
    assert workers.report().rows < ROWS_PER_S * passed_s + 3 * 4096


def _stride(workers: Workers, slot: int, number: int) -> int:
    ring = workers.watch.ring(slot)
    assert ring is not None
    words, _, stride = Writer(ring).counts(number)
    return int(words[stride])


def test_columns_that_are_not_watched_are_named_in_the_log(caplog):
    workers = Workers(1)
    x, y = normal(300, seed=0, features=80)
    look = workers.load(0, trained.contract(x, y))
    for _ in range(3):
        look([x], [y])
        workers.watch.fold()

    assert [record.getMessage() for record in caplog.records] == [
        "model m version 1: the first 64 columns are watched for drift, 17 are not"
    ]


def test_rows_of_nobody_knows_what_are_left_out(contract, caplog):
    workers = Workers(1)
    ring = workers.watch.ring(0)
    assert ring is not None
    Writer(ring).rows(400, np.ones((1, 1), np.float32), np.ones((1, 1), np.float32))
    workers.watch.fold()
    assert "no model has the number 400" in caplog.text
    x, y = normal(10, seed=1)
    workers.load(0, contract)([x], [y])

    assert workers.report().rows == 10


def test_it_folds_by_itself_until_it_is_closed(contract):
    """Nobody needs to look at the metrics for the rings to be emptied."""
    workers = Workers(1)
    x, y = normal(10, seed=1)
    look = workers.load(0, contract)
    ring = workers.watch.ring(0)
    assert ring is not None
    workers.watch.start()
    look([x], [y])
    assert eventually(lambda: not Reader(ring).look())
    workers.watch.close()
    look([x], [y])
    time.sleep(2 * watches.FOLD_S)

    assert Reader(ring).look()


def test_without_a_window_nothing_is_watched():
    watch = Watch([Block.create([])], 0.0)
    watch.start()

    assert watch.ring(0) is None
    assert watch.reports() == []
    watch.close()
