"""What the default recipe claims: which model it keeps, and how often its interval is right."""

from __future__ import annotations

from multiprocessing import get_context

import numpy as np
import pytest

from isotherm.trainer import data, fit
from isotherm.trainer.data import Floats

TABLES = 200
NEW_ROWS = 1000


def test_the_thermometer_keeps_the_line(thermometer: data.Table) -> None:
    """Six fits are compared, the best network wins on paper, and the line is kept."""
    board = fit(None, thermometer, choose="auto").leaderboard

    assert (board.kept, board.method, board.configurations) == ("line", "leave-one-out", 6)
    assert board.chosen.cross_validation_error <= 2.15
    assert board.candidates[-1].note == "chosen from weight decays 0.3, 0.1, 1, 3: 0.3"


@pytest.mark.slow
def test_a_surface_in_500_rows_keeps_the_network() -> None:
    """Where lines cannot follow, the network wins by more than two standard errors."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, size=(500, 3))
    y = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + rng.normal(scale=0.3, size=500)

    board = fit(None, x, y, choose="auto", epochs=300).leaderboard

    last = board.comparisons[-1]
    assert (board.kept, last.richer) == ("network", "network")
    assert last.gain > 2 * last.standard_error
    assert board.chosen.cross_validation_error < 0.5 * board.candidates[1].cross_validation_error
    assert board.chosen.scores is not None
    assert 0 < board.chosen.scores.spread < 0.1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_interval_holds_what_it_promises_over_made_tables() -> None:
    """Of 200 tables of 11 to 45 rows, lines and waves, 90 % of new rows are inside, give or take 3.

    The whole recipe runs on each table, its choice of a model included.
    """
    # Trained on one thread each, so that tables side by side take half of the time.
    with get_context("spawn").Pool(2) as pool:
        covered = pool.map(_covered, range(TABLES), chunksize=10)

    assert len(covered) == TABLES
    assert np.mean(covered) == pytest.approx(0.9, abs=0.03)


def _covered(seed: int) -> float:
    rng = np.random.default_rng(seed)
    rows, features = int(rng.choice([11, 20, 30, 45])), int(rng.integers(1, 4))
    x, y = _draw(rng, rows, features, wave=seed % 2 == 1)
    trained = fit(None, x, y, choose="auto", epochs=200)
    new_x, new_y = _draw(rng, NEW_ROWS, features, wave=seed % 2 == 1)
    misses = np.abs(trained.predict(new_x)[:, 0] - new_y)
    return float((misses <= trained.fitted.half_width[0]).mean())


def _draw(
    rng: np.random.Generator, rows: int, features: int, *, wave: bool
) -> tuple[Floats, Floats]:
    x = rng.uniform(-1, 1, size=(rows, features))
    total = x.sum(axis=1)
    truth = np.sin(3 * total) if wave else 2 * total
    return x, truth + rng.normal(scale=0.3, size=rows)
