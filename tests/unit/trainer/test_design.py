"""Tests of the straight models of categories: fitted from codes as from a column a value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from isotherm.trainer.baselines import baselines
from isotherm.trainer.candidates import Candidate
from isotherm.trainer.columns import Column
from isotherm.trainer.data import Table, table
from isotherm.trainer.design import Design
from isotherm.trainer.encoding import Encoding
from isotherm.trainer.folds import folds
from isotherm.trainer.objective import of as objective_of

RNG = np.random.default_rng(0)
AGE = Column(name="age", unit="", datatype="FP64", missing="mean")
TOWN = Column(
    name="town",
    unit="",
    datatype="BYTES",
    categories=("a", "b", "c"),
    missing="unknown",
    unknown=True,
)
ZONE = replace(TOWN, name="zone", categories=tuple("zyxwvu"), embedding=2, unknown=False)
COLUMNS = (AGE, TOWN, ZONE)
ROWS = 90
X = np.column_stack(
    [RNG.normal(size=ROWS), RNG.integers(-1, 3, ROWS), RNG.integers(0, 6, ROWS)]
).astype(np.float64)
X[::7, 0] = np.nan


def _one_hot(x: np.ndarray) -> np.ndarray:
    """Return a column for each value, the unknown one of the town included."""
    towns = (x[:, 1, None] == [0, 1, 2, -1]).astype(float)
    return np.hstack([towns, (x[:, 2, None] == np.arange(6)).astype(float)])


@pytest.mark.parametrize("weighted", [False, True])
def test_a_line_from_codes_is_ridge_regression_on_a_column_a_value(weighted: bool) -> None:
    """The closed form on the written-out columns: bias and numbers free, effects penalised by 1."""
    weights = RNG.uniform(0.5, 2, ROWS) if weighted else np.ones(ROWS)
    encoding = Encoding.of(X, COLUMNS)
    design = Design.of(encoding, X)
    y = RNG.normal(size=(ROWS, 2)) + _one_hot(X)[:, :2]

    line = design.least_squares(y, weights)

    columns = np.hstack([np.ones((ROWS, 1)), design.plain, _one_hot(X)])
    penalty = np.diag([0.0, 0.0, *[1.0] * 10])
    weighed = columns * weights[:, None]
    expected = columns @ np.linalg.solve(weighed.T @ columns + penalty, weighed.T @ y)
    np.testing.assert_allclose(line.answers(design), expected, atol=1e-7)


def test_columns_that_say_the_same_do_not_disturb_it() -> None:
    """Neither twice the same number, nor twice the same category, has one solution."""
    x, columns = (
        X[:, [0, 0, 1, 1]],
        (AGE, replace(AGE, name="again"), TOWN, replace(TOWN, name="t")),
    )
    design = Design.of(Encoding.of(x, columns), x)
    y = np.nan_to_num(X[:, :1]) + _one_hot(X)[:, :1]

    line = design.least_squares(y, np.ones(ROWS))

    assert np.abs(line.answers(design) - y).max() < 0.1


def test_a_value_of_one_row_is_pulled_half_way_to_the_average() -> None:
    """As if one more row had shown no effect."""
    column = replace(TOWN, categories=tuple("abcdefghijklmnopqrstu"), unknown=False)
    x = np.array([*np.repeat(np.arange(20.0), 50), 20.0])[:, np.newaxis]
    y = (x == 20).astype(np.float64)
    design = Design.of(Encoding.of(x, [column]), x)

    line = design.least_squares(y, np.ones(1001))

    assert line.answers(design)[-1, 0] == pytest.approx(0.5, abs=0.02)


def test_centred_effects_answer_the_same_and_have_mean_zero() -> None:
    """So that a value which no row had, whose effect is 0, answers as the average row."""
    encoding = Encoding.of(X[X[:, 2] != 5], COLUMNS)
    design = Design.of(encoding, X[X[:, 2] != 5])
    effects = tuple(RNG.normal(size=(size, 2)) for size in design.sizes)
    line = replace(design.constant(np.ones(2)), effects=effects)

    centred = line.centred(encoding.shares)

    np.testing.assert_allclose(centred.answers(design), line.answers(design))
    for shares, found in zip(encoding.shares, centred.effects, strict=True):
        np.testing.assert_allclose(shares @ found, 0, atol=1e-12)
        np.testing.assert_array_equal(found[shares == 0], 0)


def _table(*, labels: bool) -> Table:
    effects = RNG.normal(size=6)
    y = np.nan_to_num(X[:, 0]) + effects[X[:, 2].astype(int)] + (X[:, 1] == 1)
    names = ["a", "b", "c", None]
    columns = {
        "age": X[:, 0],
        "town": [names[int(code)] for code in X[:, 1]],
        "zone": [str(int(code)) + "." for code in X[:, 2]],
        "y": np.where(y > y.mean(), "high", "low") if labels else y,
    }
    return table(
        columns,
        features=["age", "town", "zone"],
        targets=["y"],
        missing="mean",
        categories={"zone": "embedding"},
    )


@pytest.mark.parametrize("labels", [False, True], ids=["line", "logistic"])
def test_a_baselines_layers_answer_as_it_was_fitted(labels: bool) -> None:
    """Embedded, one-hot and plain columns, and values that no row of training had."""
    data = _table(labels=labels)
    simple, straight = _baselines(data)

    rows = np.array([[np.nan, -1.0, -1.0], [0.0, 7.0, 9.0]])
    encoding = Encoding.of(data.x, data.features)
    encoded = torch.tensor(encoding.encode(np.vstack([data.x, rows])), dtype=torch.float32)
    with torch.inference_mode():
        outputs = straight.core(encoded).double()
        constant = simple.core(encoded)

    assert straight.parameters == (2 if labels else 1) * (1 + 1 + 4 + 6)
    assert (constant == constant[0]).all()
    fitted = straight.training_residuals + objective_of(data).truth(data.y)
    if labels:
        torch.testing.assert_close(
            outputs[:-2].softmax(dim=1), torch.tensor(fitted), rtol=1e-5, atol=1e-5
        )
    else:
        scale, mean = data.y.std(), data.y.mean()
        np.testing.assert_allclose(outputs[:-2].numpy() * scale + mean, fitted, atol=1e-5)


@pytest.mark.parametrize("labels", [False, True], ids=["line", "logistic"])
def test_rows_that_count_next_to_nothing_do_not_bend_effects(labels: bool) -> None:
    """Half of the rows say the opposite of the others, and weigh a millionth."""
    y = np.array([0.0, 1.0] * 20)
    columns = {
        "town": ["a", "b"] * 40,
        "age": RNG.normal(size=80),
        "y": np.where(np.hstack([y, 1 - y]), "high", "low") if labels else np.hstack([y, 1 - y]),
        "weight": [1.0] * 40 + [1e-6] * 40,
    }
    data = table(columns, features=["town", "age"], targets=["y"], weight="weight")

    _, straight = _baselines(data)

    answers = straight.training_residuals + objective_of(data).truth(data.y)
    # Of labels, the first class is `high`; effects are held back a little.
    expected = np.column_stack([y, 1 - y]) if labels else y[:, np.newaxis]
    np.testing.assert_allclose(answers[:40], expected, atol=0.25)


def test_effects_of_a_logistic_regression_are_penalised_like_its_weights() -> None:
    """Where the loss is least, an effect is the sum of what its rows miss by."""
    data = _table(labels=True)
    encoding = Encoding.of(data.x, data.features)
    codes = data.x[:, 2].astype(int)

    _, straight = _baselines(data)

    missed = -straight.training_residuals
    state = straight.core.state_dict()
    table_of_zone = state["embeddings.tables.0"].double().numpy()[:6]
    sums = np.stack([missed[codes == code].sum(axis=0) for code in range(6)])
    shares = encoding.shares[1][:6]
    np.testing.assert_allclose(table_of_zone, sums - shares @ sums, atol=1e-3)


def _baselines(data: Table) -> list[Candidate]:
    return [*baselines(data, folds(data.rows, 0), objective_of(data))]


def test_effects_make_the_line_better_than_the_mean_on_rows_left_out() -> None:
    """They carry what the target is made of, and a fold may lack a value altogether."""
    mean, line = _baselines(_table(labels=False))

    assert line.cross_validation_error < 0.5 * mean.cross_validation_error
