"""Weights: a row that weighs two is that row twice, and one that weighs nothing is not there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from torch import nn

from isotherm.trainer import data, fit, interval, outcomes, weights
from isotherm.trainer.errors import DataError
from isotherm.trainer.estimator import Fitted

ROWS = 20
# A logistic regression in each fold takes its time.
TARGETS = ["y", pytest.param("kind", marks=pytest.mark.slow)]


def _columns(seed: int = 0) -> dict[str, Any]:
    """Rows of two features, a number, a label and a group, each of which weighs 0 to 3."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, ROWS))
    return {
        "a": a,
        "b": 5 + 3 * b,
        "y": 2 * a - b + rng.normal(scale=0.3, size=ROWS),
        "kind": np.where(a + rng.normal(scale=0.5, size=ROWS) > 0, "warm", "cold"),
        "id": np.arange(ROWS),
        "w": np.tile([1, 2, 0, 3], ROWS // 4),
    }


def _repeated(columns: dict[str, Any]) -> dict[str, Any]:
    return {name: np.repeat(values, columns["w"]) for name, values in columns.items()}


def _fitted(columns: dict[str, Any], target: str = "y", **settings: Any) -> Fitted:
    # The copies of a row are left out together, so both tables have the same folds.
    return fit(
        None,
        columns,
        features=["a", "b"],
        targets=[target],
        group="id",
        seed=3,
        **({"epochs": 5, "weight_decay": 0.0} | settings),
    ).fitted


@pytest.mark.parametrize("seed", range(3))
def test_whole_weights_are_repeated_rows_to_mean_and_line(seed: int) -> None:
    """Coefficients, errors on rows left out, and errors on rows learned from."""
    columns = _columns(seed)
    weighed, repeated = _fitted(columns, weight="w"), _fitted(_repeated(columns))

    assert (weighed.table.rows, repeated.table.rows) == (15, 30)
    pairs = zip(weighed.leaderboard.candidates, repeated.leaderboard.candidates, strict=True)
    for ours, theirs in [*pairs][:2]:
        for name, value in ours.core.state_dict().items():
            np.testing.assert_allclose(value, theirs.core.state_dict()[name], atol=1e-6)
        assert ours.cross_validation_error == pytest.approx(theirs.cross_validation_error)
        assert ours.training_error == pytest.approx(theirs.training_error)
        assert outcomes.error_bar(weighed, ours) == pytest.approx(
            outcomes.error_bar(repeated, theirs)
        )
    first, same = weighed.leaderboard.comparisons[0], repeated.leaderboard.comparisons[0]
    assert first.gain == pytest.approx(same.gain)
    assert first.standard_error == pytest.approx(same.standard_error)


@pytest.mark.parametrize("settings", [{}, {"optimizer": "adamw", "weight_decay": 0.1}])
@pytest.mark.parametrize("target", TARGETS)
def test_whole_weights_are_repeated_rows_to_a_network(target: str, settings: Any) -> None:
    """Within rounding: its answers on rows left out, and after learning from all."""
    columns = _columns()
    settings = {"epochs": 100, "learning_rate": 0.01, **settings}
    weighed = _fitted(columns, target, weight="w", **settings)
    repeated = _fitted(_repeated(columns), target, **settings)
    ours, theirs = weighed.leaderboard.candidates[-1], repeated.leaderboard.candidates[-1]

    first = np.unique(repeated.table.split.keys, return_index=True)[1]

    np.testing.assert_allclose(ours.training_residuals, theirs.training_residuals[first], atol=2e-4)
    np.testing.assert_allclose(ours.held_out_residuals, theirs.held_out_residuals[first], atol=2e-3)
    assert ours.cross_validation_error == pytest.approx(theirs.cross_validation_error, rel=1e-3)
    if target == "kind":
        assert outcomes.accuracy(weighed) == pytest.approx(outcomes.accuracy(repeated))


def test_only_ratios_of_weights_matter() -> None:
    """A thousandth of all weights, and the model, its interval and what is kept are the same."""
    columns = _columns()
    small = columns | {"w": columns["w"] / 1024}
    ours, theirs = (_fitted(each, weight="w", weight_decay=(0.3, 1.0)) for each in (columns, small))

    assert ours.half_width.tolist() == theirs.half_width.tolist()
    assert ours.measured_coverage == theirs.measured_coverage
    assert ours.leaderboard.comparisons == theirs.leaderboard.comparisons
    np.testing.assert_array_equal(
        ours.leaderboard.candidates[-1].held_out_residuals,
        theirs.leaderboard.candidates[-1].held_out_residuals,
    )


@pytest.mark.parametrize("target", TARGETS)
def test_equal_weights_are_none(target: str) -> None:
    """The unweighted arithmetic, in another order."""
    columns = _columns() | {"w": np.full(ROWS, 7.0)}
    ours, theirs = _fitted(columns, target, weight="w"), _fitted(columns, target)

    for weighed, plain in zip(
        ours.leaderboard.candidates, theirs.leaderboard.candidates, strict=True
    ):
        np.testing.assert_allclose(weighed.held_out_residuals, plain.held_out_residuals, atol=1e-4)
    for ratio, usual in zip(
        ours.leaderboard.comparisons, theirs.leaderboard.comparisons, strict=True
    ):
        assert ratio.gain == pytest.approx(usual.gain, abs=1e-4)
        assert ratio.standard_error == pytest.approx(usual.standard_error, rel=1e-3)
    assert ours.half_width == pytest.approx(theirs.half_width, rel=1e-3)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        (
            [1.0, -2.0, 1.0],
            r"column 'w' of the table has -2 in row 2; a weight is finite, and from 0",
        ),
        ([1.0, 2.0, np.inf], "has inf in row 3"),
        ([1.0, None, 1.0], "has no weight in row 2; give it one, or 0"),
        ([0, 0, 0], "is 0 in every row; at least some rows must count"),
        (["1", "2", "3"], "holds string, expected weights: numbers from 0 on"),
        ([1, 0, 1], "the table without its 1 rows of weight 0 has 2 rows below its header"),
    ],
)
def test_weights_that_say_nothing_are_refused(values: Any, error: str) -> None:
    """Errors name the column and the row."""
    columns = {"a": [1.0, 2.0, 4.0], "y": [1.0, 2.0, 3.0], "w": values}

    with pytest.raises(DataError, match=error):
        data.table(columns, features=["a"], targets=["y"], weight="w")


def test_a_column_that_only_weightless_rows_vary_in_is_constant() -> None:
    """Rows of weight 0 are left out before anything is looked at."""
    columns = {"a": [1.0, 1.0, 1.0, 9.0], "y": [1.0, 2.0, 3.0, 4.0], "w": [1, 1, 2, 0]}

    with pytest.raises(
        DataError, match="column 'a' of the table without its 1 rows of weight 0 is"
    ):
        data.table(columns, features=["a"], targets=["y"], weight="w")


WEIGHTS = st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=40)


@given(WEIGHTS, st.floats(1e-6, 1e6))
def test_weights_are_worth_some_rows(values: list[float], factor: float) -> None:
    """As many as there are where all are alike, else fewer; whatever the unit."""
    array = np.array(values)

    worth = weights.effective(array)

    assert 1 <= worth <= len(values) * (1 + 1e-9)
    assert worth == pytest.approx(weights.effective(factor * array))
    assert weights.effective(np.full(len(values), factor)) == pytest.approx(len(values))


@given(st.integers(2, 30), st.integers(0, 2**32))
def test_the_standard_error_is_the_usual_one_where_rows_are_alike(rows: int, seed: int) -> None:
    """Of equal weights and of groups of one row; rows twice in one group say nothing new."""
    values = np.random.default_rng(seed).normal(size=rows)
    usual = values.std(ddof=1) / np.sqrt(rows)
    keys = np.arange(rows)

    for found in (
        weights.standard_error(values),
        weights.standard_error(values, np.full(rows, 3.0)),
        weights.standard_error(values, None, keys),
        weights.standard_error(np.tile(values, 2), None, np.tile(keys, 2)),
    ):
        assert found == pytest.approx(usual)


def test_rows_of_one_group_have_no_standard_error() -> None:
    """There is nothing to compare them with: no gain convinces."""
    assert weights.standard_error(np.arange(3.0), None, np.zeros(3, dtype=np.int64)) == np.inf


@given(st.integers(1, 60), st.floats(0.05, 0.99), st.integers(0, 2**32))
@example(9, 0.9, 0)
@example(19, 0.95, 0)
def test_equal_weights_give_the_plain_interval(rows: int, coverage: float, seed: int) -> None:
    """The same rank of the residuals, and the same coverage where rows are too few."""
    rank = (rows + 1) * coverage
    # Next to a rank, rounding decides which it is.
    assume(rank == round(rank) or abs(rank - round(rank)) > 1e-9)
    residuals = np.random.default_rng(seed).normal(size=(rows, 2))

    widths, reached = interval.half_width(residuals, coverage)
    weighed, same = interval.half_width(residuals, coverage, np.full(rows, 0.3))

    assert weighed.tolist() == widths.tolist()
    assert same == pytest.approx(reached)


def test_where_few_rows_weigh_anything_less_is_promised() -> None:
    """Of a hundred rows that are worth three, three quarters at most."""
    residuals, counts = np.arange(100.0)[:, np.newaxis], np.full(100, 1e-9)
    counts[:3] = 1.0

    _, coverage = interval.half_width(residuals, 0.9, counts)

    assert coverage == pytest.approx(0.75)


def test_the_interval_holds_its_share_by_weight() -> None:
    """Where the heavy rows are the noisy ones, a plain interval would hold too few of them."""
    rng = np.random.default_rng(0)
    heavy = rng.random(4000) < 0.2
    residuals = rng.normal(scale=np.where(heavy, 5.0, 1.0))[:, np.newaxis]
    counts = np.where(heavy, 4.0, 1.0)

    (plain,), _ = interval.half_width(residuals, 0.9)
    (width,), _ = interval.half_width(residuals, 0.9, counts)

    inside = np.abs(residuals[:, 0]) <= width
    assert np.average(inside, weights=counts) == pytest.approx(0.9, abs=0.005)
    assert np.average(np.abs(residuals[:, 0]) <= plain, weights=counts) < 0.8


def test_a_weight_of_any_number_type_is_read() -> None:
    """Decimals and unsigned whole numbers, too."""
    for kind in (pa.uint8(), pa.float32(), pa.decimal128(5, 2)):
        cells = pa.chunked_array([pa.array(np.array([1, 2, 0], np.uint8)).cast(kind)])
        assert weights.read("column 'w'", cells).tolist() == [1.0, 2.0, 0.0]


def test_the_published_interval_holds_its_share_by_weight() -> None:
    """As the rows count where models are compared, so they do where the width is chosen."""
    rng = np.random.default_rng(0)
    heavy = np.arange(200) % 5 == 0
    x, counts = rng.normal(size=200), np.where(heavy, 4.0, 1.0)
    y = x + rng.normal(scale=np.where(heavy, 5.0, 0.5))

    fitted = fit(None, x, y, weight=counts, choose="line", epochs=1, weight_decay=0.3).fitted

    inside = np.abs(fitted.leaderboard.chosen.held_out_residuals[:, 0]) <= fitted.half_width[0]
    assert np.average(inside, weights=counts) == pytest.approx(0.9, abs=0.02)
    assert inside.mean() > 0.93
    assert outcomes.covered_share(fitted) == pytest.approx(np.average(inside, weights=counts))


def test_the_penalty_is_chosen_by_weight() -> None:
    """A slope in few heavy rows, which would be the worst answer to the many light ones."""
    x = np.concatenate([np.linspace(-1, 1, 20), np.tile([-8.0, 8.0], 40)])
    y, counts = np.where(np.abs(x) > 1, 0.0, x), np.where(np.abs(x) > 1, 1e-4, 1.0)

    def chosen(**weight: Any) -> str:
        settings: dict[str, Any] = {"epochs": 100, "weight_decay": (0.0, 1e4), **weight}
        return fit(nn.Sequential(nn.Linear(1, 1)), x, y, **settings).leaderboard.candidates[-1].note

    assert chosen(weight=counts).endswith(": 0")
