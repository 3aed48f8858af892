"""Tests of how rows are left out."""

from __future__ import annotations

import numpy as np
import pytest

from isotherm.trainer.folds import folds


@pytest.mark.parametrize(
    ("rows", "method", "count", "repeats"),
    [
        (50, "leave-one-out", 50, 1),
        (52, "5-fold, 3 times", 15, 3),
        (1002, "5-fold", 5, 1),
        (100_001, "2-fold", 2, 1),
    ],
)
def test_every_row_is_left_out_once_in_each_repeat(
    rows: int, method: str, count: int, repeats: int
) -> None:
    """Folds share the rows evenly, one by one while there are few."""
    parts = folds(rows, seed=0)

    assert (method, count, repeats) == (parts.method, len(parts.held_out), parts.repeats)
    assert {repeats} == set(parts.held_out.sum(axis=0).tolist())
    assert np.ptp(parts.held_out.sum(axis=1)) <= 1


def test_repeats_split_anew() -> None:
    """The same rows in other company."""
    first, second, _ = np.split(folds(100, seed=0).held_out, 3)

    assert not np.array_equal(first, second)


def test_each_rows_prediction_comes_from_the_fold_that_left_it_out() -> None:
    """Predictions that are the fold's number come back as that number."""
    parts = folds(60, seed=1)
    predictions = np.broadcast_to(np.arange(15.0)[:, None, None], (15, 60, 2))

    gathered = parts.gather(predictions)

    assert gathered.shape == (3, 60, 2)
    for repeat in range(3):
        for row in range(60):
            assert parts.held_out[int(gathered[repeat, row, 0]), row]
            assert int(gathered[repeat, row, 0]) // 5 == repeat


def test_the_rows_of_a_class_are_spread_over_the_folds() -> None:
    """A class of two rows is never left out as a whole."""
    y = np.zeros(60)
    y[:2] = 1

    parts = folds(60, seed=0, y=y)

    assert (parts.held_out[:, :2].sum(axis=1) <= 1).all()
