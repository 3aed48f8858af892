"""Tests of what is counted on rows that were left out."""

from __future__ import annotations

import numpy as np
import pytest

from isotherm.trainer import outcomes
from isotherm.trainer.estimator import Fitted


def test_an_answer_and_its_residual_give_the_truth(fitted: Fitted) -> None:
    """Predictions of rows left out are put together from what the leaderboard keeps."""
    chosen = fitted.leaderboard.chosen

    answers = outcomes.left_out(fitted, chosen)

    np.testing.assert_allclose(answers - chosen.held_out_residuals, fitted.table.y)


def test_the_rows_inside_the_interval_are_counted(fitted: Fitted) -> None:
    """At least the nominal share, as a conformal width promises of its own rows."""
    (inside,) = outcomes.covered(fitted)

    assert inside >= fitted.coverage * fitted.table.rows


def test_the_confusion_counts_every_row_once(classified: Fitted) -> None:
    """Ten of each class; the hits are on the diagonal."""
    counts = outcomes.confusion(classified)
    right, frequent = outcomes.accuracy(classified)

    assert counts.sum(axis=1).tolist() == [10, 10, 10]
    assert right == np.trace(counts) / 30 > frequent
    assert frequent == pytest.approx(1 / 3)


def test_the_calibration_counts_every_probability(classified: Fitted) -> None:
    """Three a row; the mean of the shares is that of the classes."""
    mean, share, counts = outcomes.calibration(classified)

    assert counts.sum() == 90
    assert (share * counts).sum() == pytest.approx(30)
    assert (mean * counts).sum() == pytest.approx(30)


def test_the_error_bar_is_that_of_a_mean_over_rows(fitted: Fitted, classified: Fitted) -> None:
    """Of a root mean square it is carried through the root."""
    chosen = fitted.leaderboard.chosen
    squares = np.square(chosen.held_out_residuals[:, 0])
    low, high = (
        np.sqrt(squares.mean() + sign * squares.std(ddof=1) / np.sqrt(11)) for sign in (-1, 1)
    )

    assert outcomes.error_bar(fitted, chosen) == pytest.approx((high - low) / 2, rel=0.1)
    assert 0 < outcomes.error_bar(classified, classified.leaderboard.chosen) < 1
