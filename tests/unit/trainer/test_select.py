"""Tests of the leaderboard."""

from __future__ import annotations

import numpy as np
import pytest

from isotherm.trainer import data, select
from isotherm.trainer.config import DataConfig, FitConfig, TrainConfig
from isotherm.trainer.data import Column, Floats, Table
from isotherm.trainer.estimator import Fitted, serve


def _table(x: Floats, y: Floats) -> Table:
    def columns(prefix: str, count: int) -> tuple[Column, ...]:
        return tuple(Column(name=f"{prefix}{i}", unit="", datatype="FP64") for i in range(count))

    return Table(
        features=columns("x", x.shape[1]), targets=columns("y", y.shape[1]), x=x, y=y, sha256=""
    )


def _config(epochs: int, *decays: float) -> TrainConfig:
    # The dataset is not read: the tests bring their own table.
    fit = FitConfig(epochs=epochs, weight_decay=decays or (0.3, 0.1, 1.0))
    return TrainConfig(name="made", data=DataConfig(dataset="thermometer"), fit=fit)


def test_the_line_of_the_seed_is_the_closed_form(fitted: Fitted) -> None:
    """Slope 5.3677 and intercept -17.3048 per 0.1 reading, mean squared error 2.928."""
    line = fitted.leaderboard.candidates[1]
    served = serve(fitted.table, line, np.zeros(1))

    (intercept,), (at_ten,) = served.answers(np.array([[0.0], [10.0]]))

    assert [at_ten - intercept, intercept] == pytest.approx([5.3677, -17.3048], abs=5e-5)
    assert line.training_error**2 == pytest.approx(2.928, abs=5e-4)
    np.testing.assert_allclose(
        served.answers(fitted.table.x) - fitted.table.y, line.training_residuals, atol=1e-5
    )


def test_the_thermometer_keeps_the_line(fitted: Fitted) -> None:
    """The network wins on paper, but not by two standard errors of eleven rows."""
    mean, line, network = fitted.leaderboard.candidates

    assert fitted.leaderboard.kept == "line"
    assert mean.cross_validation_error == pytest.approx(9.661, abs=5e-4)
    assert line.cross_validation_error == pytest.approx(2.126, abs=5e-4)
    assert network.cross_validation_error < 2.15
    assert network.training_error < line.training_error
    assert [mean.parameters, line.parameters, network.parameters] == [1, 2, 40]


def test_the_model_that_was_asked_for_is_chosen(fitted: Fitted) -> None:
    """A forced choice changes what is published, not what the rule says."""
    assert fitted.leaderboard.chosen.name == "network"


def test_a_curve_in_many_rows_keeps_the_network() -> None:
    """On a sine over two periods, the network convinces."""
    x = np.random.default_rng(0).uniform(-1, 1, size=(200, 1))
    table = _table(x, np.sin(4 * x) + np.random.default_rng(1).normal(scale=0.1, size=x.shape))

    board = select.compare(table, _config(epochs=400))

    assert (board.kept, board.method) == ("network", "5-fold, 3 times")
    assert board.chosen.cross_validation_error < 0.15


def test_noise_keeps_the_mean() -> None:
    """Where the features say nothing, the mean is the honest model."""
    rng = np.random.default_rng(0)
    table = _table(rng.normal(size=(30, 3)), rng.normal(size=(30, 1)))

    board = select.compare(table, _config(epochs=50))

    assert board.chosen.name == "mean"
    assert np.zeros((1, 3)).tolist() == board.chosen.core.state_dict()["0.weight"].tolist()


def test_a_row_does_not_see_the_fold_that_predicts_it(thermometer: data.Table) -> None:
    """Spoiling one row's target changes no candidate's prediction of that row."""
    spoiled = thermometer.y.copy()
    spoiled[4] += 1000.0
    boards = [
        # Choosing among penalties looks at every row's error: hence one penalty only.
        select.compare(_table(thermometer.x, y), _config(20, 0.3))
        for y in (thermometer.y, spoiled)
    ]

    before, after = (
        [candidate.held_out_residuals[4, 0] for candidate in board.candidates] for board in boards
    )

    assert [value - 1000.0 for value in before] == pytest.approx(after, abs=1e-3)


def test_several_targets_are_fitted_together() -> None:
    """Each target has its own residuals."""
    x = np.random.default_rng(0).normal(size=(20, 2))
    table = _table(x, np.column_stack([x[:, 0] * 3, x.sum(axis=1) - 5]))

    board = select.compare(table, _config(epochs=20))

    assert [model.held_out_residuals.shape for model in board.candidates] == [(20, 2)] * 3
    np.testing.assert_allclose(board.candidates[1].held_out_residuals, 0, atol=1e-9)
