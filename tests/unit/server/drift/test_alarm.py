"""When columns are called drifted, by the whole way from a worker's batches to the report."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import trained
from tests.unit.server.drift.workers import Table, Workers, columns, drifted

FEATURES = 8


def rows(random: np.random.Generator, number: int) -> tuple[Table, Table]:
    """Return rows of all kinds of columns, and a prediction: continuous, skewed, bounded, few."""
    x = np.column_stack(
        [
            random.normal(20, 5, number),
            random.normal(0, 1e-3, number),
            random.lognormal(0, 1, number),
            random.uniform(-1, 1, number),
            random.exponential(100, number),
            random.integers(0, 5, number),
            random.integers(0, 2, number),
            random.standard_t(3, number),
        ]
    ).astype(np.float32)
    return x, np.tanh(x[:, :1] / 20 + x[:, 3:4]).astype(np.float32)


@pytest.fixture(name="contract", scope="module")
def _contract():
    """What a model of these columns was trained on."""
    return trained.contract(*rows(np.random.default_rng(100), 5000))


@pytest.mark.parametrize("feature", [0, 1, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_a_shift_of_half_a_deviation_raises_its_alarm_within_2000_rows(contract, feature, seed):
    """And no other feature's."""
    random = np.random.default_rng(seed)
    workers = Workers(2)
    taps = [workers.load(slot, contract) for slot in range(2)]
    half = contract.features[feature].standard_deviation / 2
    for batch in range(20):
        x, y = rows(random, 100)
        x[:, feature] += half
        taps[batch % 2]([x], [y])
    report = workers.report()

    assert report.window_rows == 2000
    assert drifted(report) == [f"f{feature}"]
    assert columns(report)[f"f{feature}"].mean_shift == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("batch", [1, 37, 1000])
def test_a_million_rows_without_drift_raise_none(contract, seed, batch, monkeypatch):
    """Looked at all along the way: while the window fills, and when it is full and moves on."""
    clock = _Clock()
    monkeypatch.setattr("isotherm.server.drift.watch.time", clock)
    random = np.random.default_rng(1000 + seed)
    # 400 rows a second or 2.5 a window slice: windows of many sizes, of which chance has most to
    # say in the small ones.
    seconds_a_row = {1: 1.0, 37: 0.05, 1000: 0.0025}[batch]
    workers = Workers(2, window_s=600.0)
    taps = [workers.load(slot, contract) for slot in range(2)]
    looks, alarms, passed = 0, [], 0
    total = {1: 20_000, 37: 300_000, 1000: 1_000_000}[batch]
    x, y = rows(random, total)
    while passed < total:
        part = slice(passed, passed + batch)
        taps[looks % 2]([x[part]], [y[part]])
        passed += batch
        clock.now += batch * seconds_a_row
        looks += 1
        if looks % max(1, 200 // batch) == 0:
            alarms += drifted(workers.report())

    assert alarms == []
    assert workers.report().rows == total


class _Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, _seconds: float) -> None:
        """Return at once: there is one thread."""
