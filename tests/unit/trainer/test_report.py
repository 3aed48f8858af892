"""Tests of the report."""

from __future__ import annotations

import dataclasses
import io

import pytest
from rich.console import Console

from isotherm.trainer import report
from isotherm.trainer.estimator import Fitted
from isotherm.trainer.select import Comparison


def _comparison(simpler: str, richer: str, gain: float) -> Comparison:
    return Comparison(simpler=simpler, richer=richer, gain=gain, standard_error=1.0)


def test_the_plain_report_is_a_table_and_sentences(fitted: Fitted) -> None:
    """Columns are aligned, and the chosen model is marked."""
    lines = list(report.lines(fitted))

    assert lines[0].split() == ["model", "parameters", "CV", "RMSE", "train", "RMSE", "chosen"]
    assert lines[2].split() == ["line", "2", "2.126", "1.711"]
    assert lines[3].split()[-1] == "yes"
    assert lines[4] == "RMSE of t_c (degC), leave-one-out cross-validation, 11 rows"
    assert lines[6].startswith("Prediction interval, nominal coverage 90.0%: t_c (degC) +- ")
    assert "100.0% (11 of 11)" in lines[7]
    assert [line.partition(": ")[0] for line in lines[8:]] == ["What would help"] * 3


def test_labels_are_reported_by_the_share_that_is_right(classified: Fitted) -> None:
    """Log loss on the leaderboard, hits in a sentence, and no interval."""
    lines = list(report.lines(classified))

    assert lines[0].split() == [
        "model",
        "parameters",
        *(["CV", "log", "loss", "train", "log", "loss", "chosen"]),
    ]
    assert "log loss of kind, leave-one-out cross-validation, 30 rows" in lines
    assert any("the most frequent class alone would get 33.3%" in line for line in lines)
    assert not any("interval" in line for line in lines)


def test_a_terminal_gets_a_drawn_table(fitted: Fitted) -> None:
    """The same cells, inside a frame."""
    file = io.StringIO()

    report.show(fitted, Console(file=file, force_terminal=True, width=100))

    assert "Leaderboard" in file.getvalue()
    assert "network" in file.getvalue()


@pytest.mark.parametrize(
    ("kept", "line_gain", "network_gain", "expected"),
    [
        (
            "line",
            5.0,
            1.5,
            "The line is kept: it beats the mean by 5.0 standard errors (more than 2 are needed), "
            "and the network beats it by 1.5 standard errors only (more than 2 are needed).",
        ),
        (
            "network",
            5.0,
            3.0,
            "The network is kept: it beats the line by 3.0 standard errors "
            "(more than 2 are needed).",
        ),
        (
            "mean",
            -1.0,
            -2.0,
            "The mean is kept: the line does not beat it, and the network does not beat it.",
        ),
    ],
)
def test_the_reason_is_one_plain_sentence(
    fitted: Fitted, kept: str, line_gain: float, network_gain: float, expected: str
) -> None:
    """It says what was compared and by how much."""
    beaten = "mean" if kept == "mean" else "line"
    board = dataclasses.replace(
        fitted.leaderboard,
        kept=kept,
        comparisons=(
            _comparison("mean", "line", line_gain),
            _comparison(beaten, "network", network_gain),
        ),
        chosen=next(model for model in fitted.leaderboard.candidates if model.name == kept),
    )

    assert report.reason(board) == expected


def test_a_forced_choice_is_said_to_be_one(fitted: Fitted) -> None:
    """Who asks for the network is told what the rule would have kept."""
    assert report.reason(fitted.leaderboard).startswith(
        "The network was asked for; by the rule, the line is kept: "
    )
