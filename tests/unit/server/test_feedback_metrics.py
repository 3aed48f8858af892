"""Live errors from sums: numpy's figures of the rows within the window."""

from __future__ import annotations

import numpy as np
import pytest

from isotherm.server.counters import Block
from isotherm.server.feedback_metrics import FeedbackMetrics
from isotherm.server.layout import MAX_TARGETS
from isotherm.server.residuals import Residuals, sums
from isotherm.server.totals import total

SPAN_S = 120.0
NO_TIMES = np.zeros(0)


class Clock:
    """Seconds that a test sets."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


@pytest.fixture(name="block")
def _block() -> Block:
    """A worker with one model of one target."""
    block = Block.create([])
    Residuals(block.open_model("m", 1).words).open(["celsius"], [5.0])
    return block


def report(block: Block, prediction, truth, half_width: float | None = None) -> None:
    """Count rows of the one target."""
    p, t = np.reshape(prediction, (-1, 1)), np.reshape(truth, (-1, 1))
    bounds = (None, None) if half_width is None else (p - half_width, p + half_width)
    rows = sums(p, t, np.array([5.0]), *bounds)
    Residuals(block.open_model("m", 1).words).add(rows, NO_TIMES)


def shown(metrics: FeedbackMetrics, *blocks: Block) -> dict[str, float]:
    """Return the samples of a scrape, by name and the labels after model and version."""
    found = {}
    for family in metrics.families(total(blocks)):
        for sample in family.samples:
            assert (sample.labels["model"], sample.labels["version"]) == ("m", "1")
            rest = [v for k, v in sample.labels.items() if k not in {"model", "version", "target"}]
            found[" ".join([sample.name.removeprefix("isotherm_feedback_"), *rest])] = sample.value
    return found


def test_the_gauges_are_numpys(block: Block, clock: Clock):
    """Mean absolute and squared error, bias, R2, coverage of random rows."""
    rng = np.random.default_rng(5)
    truth = rng.normal(5, 3, 1000)
    prediction = truth + rng.normal(0.4, 1, 1000)
    report(block, prediction, truth, half_width=1.2)
    errors = prediction - truth
    found = shown(FeedbackMetrics(SPAN_S, clock), block)

    assert found["mae"] == pytest.approx(np.abs(errors).mean())
    assert found["rmse"] == pytest.approx(np.sqrt((errors**2).mean()))
    assert found["bias"] == pytest.approx(errors.mean())
    assert found["r2"] == pytest.approx(1 - (errors**2).sum() / ((truth - truth.mean()) ** 2).sum())
    assert found["interval_coverage"] == (np.abs(errors) <= 1.2).mean()


def test_the_counters_are_the_sums(block: Block, clock: Clock):
    """Signed ones apart, so that all of them only grow."""
    report(block, [6.0, 1.0], [4.0, 2.0], half_width=1.5)
    found = shown(FeedbackMetrics(SPAN_S, clock), block)

    assert {name: value for name, value in found.items() if "_total" in name} == {
        "rows_total": 2,
        "error_total over": 2,
        "error_total under": 1,
        "squared_error_total": 5,
        "truth_deviation_total over": 0,
        "truth_deviation_total under": 4,
        "truth_squared_deviation_total": 10,
        "interval_rows_total": 2,
        "covered_rows_total": 1,
        "timed_rows_total": 0,
        "delay_seconds_total": 0,
    }


def test_before_the_first_report_counters_are_zero_and_gauges_absent(block: Block, clock: Clock):
    """An error of nothing is no number, and an average over servers must pass it over."""
    found = shown(FeedbackMetrics(SPAN_S, clock), block)

    assert set(found.values()) == {0}
    assert not found.keys() & {"mae", "rmse", "bias", "r2", "interval_coverage"}


def test_what_is_not_defined_is_absent(block: Block, clock: Clock):
    """R2 of truths that do not vary; coverage without intervals."""
    report(block, [1.0, 3.0, 2.0], [0.1, 0.1, 0.1])
    found = shown(FeedbackMetrics(SPAN_S, clock), block)

    assert found["bias"] == pytest.approx(1.9)
    assert not found.keys() & {"r2", "interval_coverage"}


def test_gauges_forget_what_has_left_the_window(block: Block, clock: Clock):
    """Counters do not."""
    metrics = FeedbackMetrics(SPAN_S, clock)
    report(block, [10.0], [0.0])
    biases = []
    for clock.now_s in map(float, range(0, 400, 10)):
        if clock.now_s == 200:
            report(block, [1.0, 1.0], [0.0, 2.0])
        biases.append(shown(metrics, block).get("bias"))

    assert biases[0] == 10
    assert biases[19] is None
    assert biases[20] == 0
    assert biases[-1] is None
    assert shown(metrics, block)["rows_total"] == 3


def test_workers_add_up(clock: Clock):
    """One window over the sums of both."""
    blocks = [Block.create([]), Block.create([])]
    for block in blocks:
        Residuals(block.open_model("m", 1).words).open(["celsius"], [5.0])
    report(blocks[0], [3.0], [0.0])
    report(blocks[1], [0.0, 1.0], [1.0, 1.0])
    found = shown(FeedbackMetrics(SPAN_S, clock), *blocks)

    assert found["rows_total"] == 3
    assert found["mae"] == pytest.approx(4 / 3)


def test_sums_that_begin_anew_begin_a_new_window(block: Block, clock: Clock):
    """A version whose file was replaced: no negative number is shown, and no old row as new."""
    metrics = FeedbackMetrics(SPAN_S, clock)
    report(block, [10.0] * 8, [0.0] * 8)
    shown(metrics, block)
    residuals = Residuals(block.open_model("m", 1).words)
    residuals.open(["celsius"], [6.0])
    residuals.open(["celsius"], [5.0])
    clock.now_s = 10
    absent = shown(metrics, block)
    report(block, [1.0], [0.0])
    clock.now_s = 20

    assert "rmse" not in absent
    assert shown(metrics, block)["rmse"] == 1


def test_models_without_targets_have_no_series(clock: Clock):
    """A classifier's families are there, and empty."""
    block = Block.create([])
    block.open_model("m", 1)
    families = list(FeedbackMetrics(SPAN_S, clock).families(total([block])))

    assert len(families) == 14
    assert not any(family.samples for family in families)


def test_every_target_has_its_own_series(clock: Clock):
    """Up to the limit."""
    block = Block.create([])
    names = [f"t{index}" for index in range(MAX_TARGETS)]
    Residuals(block.open_model("m", 1).words).open(names, [0.0] * MAX_TARGETS)
    (rows, *_) = FeedbackMetrics(SPAN_S, clock).families(total([block]))

    assert [sample.labels["target"] for sample in rows.samples] == names
