"""Tests of what the report says would help."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from torch import nn

from isotherm.trainer import outcomes, remedies, select
from isotherm.trainer.candidates import Candidate
from isotherm.trainer.estimator import Fitted
from isotherm.trainer.loop import History

ROWS = 40


def _candidate(name: str, parameters: int, left_out: float, learned: float) -> Candidate:
    """A model whose errors have these sizes, in a pattern that leaves no doubt."""
    signs = np.where(np.arange(ROWS) % 2, 1.0, -1.0)[:, np.newaxis]
    return Candidate(
        name=name,
        parameters=parameters,
        core=nn.Sequential(nn.Linear(1, 1)),
        held_out_residuals=signs * left_out * np.linspace(0.9, 1.1, ROWS)[:, np.newaxis],
        training_residuals=signs * learned,
    )


def _fitted(thermometer: Fitted, *, line: float, network: float, learned: float) -> Fitted:
    x = np.linspace(0.0, 10.0, ROWS)[:, np.newaxis]
    table = dataclasses.replace(thermometer.table, x=x, y=3 * x)
    candidates = (
        _candidate("mean", 1, 9.0, 8.9),
        _candidate("line", 2, line, line * 0.98),
        _candidate("network", 40, network, learned),
    )
    kept, comparisons = select.keep(candidates, np.ones(1))
    board = dataclasses.replace(
        thermometer.leaderboard,
        candidates=candidates,
        comparisons=comparisons,
        kept=kept.name,
        chosen=kept,
        history=History(training=(1.0,), validation=(1.0,)),
    )
    return dataclasses.replace(thermometer, table=table, leaderboard=board)


def test_the_thermometer_gets_all_three_remedies_of_the_seed(fitted: Fitted) -> None:
    """Eleven readings, few of them at the ends, and a network that fits them too closely."""
    found = {remedy.name: remedy.text for remedy in remedies.of(fitted)}

    assert set(found) == {"a simpler model", "more data", "more varied data"}
    assert "about 17 rows like these 11" in found["more data"]
    assert "1 of 11 rows have t_u between 21.8 and 33.82" in found["more varied data"]
    assert "leave --model out, and the line is served" in found["a simpler model"]


def test_the_line_that_wins_is_said_to_win(fitted: Fitted) -> None:
    """Plainly, with both numbers."""
    made = _fitted(fitted, line=2.0, network=2.5, learned=1.0)

    assert remedies.verdict(made) == (
        "The line beats the network on rows left out (RMSE: network 2.504, line 2.004)."
    )
    (remedy,) = remedies.of(made)
    assert remedy.name == "a simpler model"
    assert remedy.text.endswith("the line is served instead")


def test_a_network_that_gains_by_chance_does_not_win(fitted: Fitted) -> None:
    """The thermometer's network has the lower error, and the line still wins."""
    board = dataclasses.replace(fitted.leaderboard)

    assert board.kept == "line"
    assert remedies.verdict(fitted) == (
        "The network does not beat the line by more than chance explains, so the line is kept; "
        "errors on rows left out (RMSE: network 1.914, line 2.126)."
    )


def test_a_network_that_wins_needs_no_remedy(fitted: Fitted) -> None:
    """It beats the line on rows left out, and fits what it learned from no better than those."""
    made = _fitted(fitted, line=2.0, network=0.5, learned=0.49)

    assert remedies.verdict(made).startswith("The network beats the line on rows left out")
    assert [] == remedies.of(made)


def test_features_that_say_nothing_are_said_to(fitted: Fitted) -> None:
    """Where the mean is kept, other features are the remedy."""
    made = _fitted(fitted, line=9.5, network=9.6, learned=9.4)

    assert "other features" in [remedy.name for remedy in remedies.of(made)]


@pytest.mark.parametrize("values", [[0.0, 1.0], [1.0, 2.0, 3.0]])
def test_codes_have_no_gaps(fitted: Fitted, values: list[float]) -> None:
    """Between 0 and 1 of a flag there is nothing to collect."""
    x = np.resize(values, (ROWS, 1))
    table = dataclasses.replace(fitted.table, x=x, y=np.zeros((ROWS, 1)))

    assert [] == outcomes.sparse(dataclasses.replace(fitted, table=table))


def test_rows_without_a_value_are_no_gap_in_its_range(fitted: Fitted) -> None:
    """A column that most rows lack, evenly spread where they have it, needs no more of anything."""
    x = np.full((100, 1), np.nan)
    x[:30, 0] = np.arange(30)
    table = dataclasses.replace(fitted.table, x=x, y=np.zeros((100, 1)))

    assert [] == outcomes.sparse(dataclasses.replace(fitted, table=table))
