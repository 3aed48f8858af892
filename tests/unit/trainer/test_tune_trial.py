"""Tests of one trial: measured as the leaderboard measures, and how it may end."""

from __future__ import annotations

import numpy as np
import pytest

from isotherm.trainer import data, select
from isotherm.trainer.config import TrainConfig, load
from isotherm.trainer.data import Table
from isotherm.trainer.tune import trial
from isotherm.trainer.tune.trial import Outcome, State


def configured(**settings: object) -> TrainConfig:
    return load(None, {"data.dataset": "thermometer", "fit.epochs": 40, **settings})


def goes_on(_step: int, _loss: float) -> bool:
    return True


def test_a_trials_error_is_the_leaderboards(thermometer: Table) -> None:
    """Same folds, same training, same number."""
    config = configured(**{"fit.weight_decay": 0.1})
    outcome = trial.run(thermometer, config, goes_on)
    board = select.compare(thermometer, config)

    assert outcome.state is State.COMPLETE
    assert outcome.error == board.candidates[-1].cross_validation_error
    assert outcome.parameters == board.candidates[-1].parameters


def test_a_trial_tells_how_it_stands_in_as_many_steps_whatever_its_epochs(
    thermometer: Table,
) -> None:
    """Steps of different trials can be compared."""
    told: list[list[int]] = []
    for epochs in (20, 200):
        steps: list[int] = []
        told.append(steps)

        def report(step: int, loss: float, steps: list[int] = steps) -> bool:
            assert loss > 0
            steps.append(step)
            return True

        trial.run(thermometer, configured(**{"fit.epochs": epochs}), report)

    assert told == [[*range(1, 21)]] * 2


def test_folds_that_follow_each_other_go_on_counting() -> None:
    """So that a step is the same part of the same fold in every trial."""
    x = np.random.default_rng(0).normal(size=60)
    table = data.table({"x": x, "y": x**2}, features=["x"], targets=["y"])
    # Batch statistics keep networks from being trained side by side.
    layers = ["Linear(1, 4)", "BatchNorm1d(4)", "Linear(4, 1)"]
    steps: list[int] = []

    def report(step: int, _loss: float) -> bool:
        steps.append(step)
        return True

    trial.run(table, configured(**{"network.layers": layers, "fit.epochs": 20}), report)

    # Of fifteen folds, behind a first stage that has nothing to tell.
    assert steps == [*range(21, 321)]


def test_a_trial_that_is_not_to_go_on_ends_at_once(thermometer: Table) -> None:
    """At the step that it was told at."""
    steps: list[int] = []

    def report(step: int, _loss: float) -> bool:
        steps.append(step)
        return step < 3

    outcome = trial.run(thermometer, configured(), report)

    assert (outcome.state, outcome.error) == (State.PRUNED, None)
    assert steps == [1, 2, 3]


def test_a_trial_that_leaves_the_numbers_says_so(thermometer: Table) -> None:
    """It is a result of its parameters, not an error of the search."""
    settings = {"fit.optimizer": "sgd", "fit.learning_rate": 1e6}
    outcome: Outcome = trial.run(thermometer, configured(**settings), goes_on)

    assert (outcome.state, outcome.error) == (State.DIVERGED, None)
    assert outcome.reason.startswith("the loss became")


@pytest.mark.parametrize(("states", "expected"), [((1.0, 2.0, 1.0), [0, 2, 1]), ((), [])])
def test_the_best_trial_is_the_first_of_the_lowest_error(
    states: tuple[float, ...], expected: list[int]
) -> None:
    """Those that were not completed are not among them."""
    tried = [
        trial.Tried(
            index=index,
            parameters={},
            outcome=Outcome(state=State.COMPLETE, error=error),
            losses={},
            started=0.0,
        )
        for index, error in enumerate(states)
    ]
    lost = trial.Tried(
        index=9, parameters={}, outcome=Outcome(state=State.PRUNED), losses={}, started=0.0
    )

    assert [one.index for one in trial.ranked([lost, *reversed(tried)])] == expected
