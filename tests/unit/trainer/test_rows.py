"""Rows that weigh, in time or in groups, with a target of another scale: the whole way."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from isotherm.trainer import (
    SequentialClassifier,
    SequentialRegressor,
    data,
    export,
    fit,
    outcomes,
    report,
    run,
)
from isotherm.trainer.__main__ import app
from isotherm.trainer.config import CheckpointConfig, DataConfig, FitConfig, TrainConfig
from isotherm.trainer.errors import CheckpointError, ConfigError, DataError
from isotherm.trainer.estimator import Fitted
from tests.unit.trainer.conftest import CREATED_AT

ROWS = 90


def _columns(rows: int = ROWS) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    days = rng.integers(0, rows // 2, rows)
    area = rng.uniform(30, 200, rows)
    return {
        "day": [dt.date(2025, 1, 1) + dt.timedelta(days=int(day)) for day in days],
        "site": rng.choice([*"abcdefghijkl"], rows),
        "area": area,
        "weight": rng.choice([0.0, 1.0, 2.5], rows),
        "price": np.exp(5 + area / 100 + rng.normal(scale=0.2, size=rows)),
    }


def _settings(**rows: Any) -> dict[str, Any]:
    return {"features": ["area"], "targets": ["price"], "transforms": {"price": "log"}, **rows}


@pytest.mark.slow
def test_a_command_says_what_each_column_is_and_publishes_what_was_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The printed schema, the caption, the contract, the recipe in the file, and the card."""
    monkeypatch.chdir(tmp_path)
    pd.DataFrame(_columns()).to_csv("house.csv", index=False)
    flags = "--features area --targets price --time day --weight weight --transforms price=log"
    more = "--data house.csv --epochs 5 --weight-decay 0.3 --log-every 0 --dpi 20"

    result = CliRunner().invoke(app, [*flags.split(), *more.split()])

    lines = result.stdout.splitlines()
    parts = {line.split()[0]: line for line in lines[2:7]}
    assert result.exit_code == 0
    assert "time    " in parts["day"]
    assert "2025-01-01 .. " in parts["day"]
    assert "weight   " in parts["weight"]
    assert "target (number, as log)" in parts["price"]
    assert "feature" not in parts["site"]
    kept = int((np.array(_columns()["weight"]) > 0).sum())
    caption = next(line for line in lines if line.startswith("RMSE of price"))
    assert caption.startswith(
        f"RMSE of price, forward 5-fold (by day) cross-validation, {kept} rows, of which the "
    )
    assert caption.endswith(" latest were predicted from earlier ones, weighted by weight")
    content = (tmp_path / "models/house/1/model.onnx").read_bytes()
    contract = export.contract_of(content)
    assert [feature.name for feature in contract.features] == ["area"]
    assert (contract.provenance.weight_column, contract.provenance.rows) == ("weight", kept)
    assert contract.targets[0].transform == "log"
    assert contract.interval.method.startswith("conformal, weighted forward 5-fold (by day)")
    properties = {entry.key: entry.value for entry in export.parse(content).metadata_props}
    told = json.loads(properties[run.TRAINING_KEY])["rows"]
    assert told == {"weight": "weight", "time": "day", "transforms": {"price": "log"}}
    card = (tmp_path / "plots/house-1/MODEL_CARD.md").read_text()
    assert "| weighted by | weight |" in card
    assert "in training; learned as log |" in card


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ({"time": "price"}, "column 'price' is both a target and the time of its row; choose one"),
        ({"weight": "area"}, "column 'area' is both a feature and the weight of its row"),
        ({"group": "town"}, "the table has no column 'town' for group; its columns are: day, site"),
        ({"time": "site"}, "column 'site' of the table holds string, expected times"),
    ],
)
def test_a_column_is_one_thing(rows: Any, error: str) -> None:
    """What a row is left out by, or counts, is nothing to predict it from."""
    with pytest.raises(DataError, match=error):
        data.table(_columns(), **_settings(**rows))


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ({"time": "day", "group": "site"}, "data: rows are split by time or by group; choose one"),
        ({"time": np.arange(ROWS)}, r"data\.time: Input should be a valid string"),
        ({"split": "group", "time": "day"}, "data: time is 'day', but split is 'group'"),
    ],
)
def test_settings_that_contradict_each_other_are_named(rows: Any, error: str) -> None:
    """With the section of a file that they would stand in."""
    with pytest.raises(ConfigError, match=error):
        data.table(_columns(), **_settings(**rows))


def test_a_table_has_its_rows_said_already() -> None:
    """Settings beside a finished table would be passed over."""
    table = data.table(_columns(), **_settings(time="day"))

    with pytest.raises(ConfigError, match=r"a Table has its .* in it; leave weight, group out"):
        fit(None, table, weight="weight", group="site")


@pytest.mark.parametrize("kind", ["time", "group"])
def test_arrays_are_split_as_columns_are(kind: str) -> None:
    """The same keys beside arrays: the same folds, weights and models."""
    columns = _columns()
    keys = columns["day" if kind == "time" else "site"]
    named = data.table(
        columns, **_settings(weight="weight", **{kind: "day" if kind == "time" else "site"})
    )
    frame = pd.DataFrame(columns)
    trained = fit(
        None,
        frame[["area"]].to_numpy(),
        frame["price"],
        targets=["price"],
        weight=frame["weight"],
        transforms={"price": "log"},
        epochs=5,
        **{kind: keys},
    )

    table = trained.fitted.table
    assert table.rows == named.rows
    # Groups may be numbered otherwise: they hold the same rows.
    ours, theirs = table.split.keys, named.split.keys
    assert np.array_equal(ours[:, np.newaxis] == ours, theirs[:, np.newaxis] == theirs)
    assert kind == "group" or np.array_equal(ours, theirs)
    assert table.weights is not None
    assert named.weights is not None
    assert np.array_equal(table.weights, named.weights)
    assert table.weight_column == "weight"
    assert table.take(np.arange(table.rows) < 5).rows == 5


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (
            {"weight": np.ones(7)},
            r"weight has shape \(7,\), expected \(90,\): one for each row of x",
        ),
        ({"weight": -np.ones(ROWS)}, "weight has -1 in row 1"),
        ({"time": ["noon"] * ROWS}, "time holds string, expected times"),
        ({"group": np.zeros(ROWS)}, "column 'group' has 1 group; a split by group needs 3"),
    ],
)
def test_arrays_beside_the_rows_are_checked(given: Any, error: str) -> None:
    """Errors name the argument and what was expected."""
    x = np.linspace(0, 1, ROWS)

    with pytest.raises(DataError, match=error):
        fit(None, x, np.square(x), **given)


def _config(tmp_path: Path, **settings: Any) -> TrainConfig:
    pd.DataFrame(_columns(200)).to_parquet(tmp_path / "house.parquet")
    rows = DataConfig(file=tmp_path / "house.parquet", **_settings(**settings))
    return TrainConfig(
        name="house",
        data=rows,
        repository=tmp_path / "models",
        model="network",
        fit=FitConfig(epochs=30, patience=8, weight_decay=(0.3,), batch_size=32),
        checkpoint=CheckpointConfig(folder=tmp_path / "saved", every=4),
    )


class _StoppedError(Exception):
    """The machine went down."""


@pytest.mark.slow
@pytest.mark.parametrize("rows", [{"time": "day"}, {"group": "site"}])
def test_a_training_of_such_rows_goes_on_to_the_same_bit(tmp_path: Path, rows: Any) -> None:
    """Stopped in its middle and started again, it publishes the file of one that ran through."""
    config = _config(tmp_path, weight="weight", **rows)
    whole = run.train(config, created_at=CREATED_AT).path.read_bytes()

    def stopping(stage: str, _epochs: int) -> Any:
        def on_epoch(epoch: int, _training: float, _validation: float) -> None:
            if stage == "network" and epoch == 10:
                raise _StoppedError

        return on_epoch

    with pytest.raises(_StoppedError):
        run.train(config, created_at=CREATED_AT, watch=stopping)
    other = config.model_copy(update={"data": config.data.model_copy(update={"weight": None})})
    with pytest.raises(CheckpointError, match=r"another training: rows\.weight is 'weight' there"):
        run.train(other, created_at=CREATED_AT)
    again = run.train(config, created_at=CREATED_AT)

    assert again.path.parent.name == "2"
    assert again.path.read_bytes() == whole


def _predicted(x: Any, y: Any, settings: dict[str, Any], **rows: Any) -> Any:
    """What each model answers to rows left out, (models, rows left out), and which those are."""
    settings = {"epochs": 20, "weight_decay": 0.3, "transforms": {"y": "log"}, **settings, **rows}
    fitted = fit(None, x, y, **settings).fitted
    answers = [outcomes.left_out(fitted, one)[:, 0] for one in fitted.leaderboard.candidates]
    assert fitted.leaderboard.parts
    return np.stack(answers), fitted.leaderboard.parts.tested


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"patience": 5},
        pytest.param({"optimizer": "lbfgs", "epochs": 1}, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("kind", ["time", "group"])
def test_nothing_of_a_row_left_out_reaches_its_prediction(kind: str, settings: Any) -> None:
    """Not by scaling, bounds, weights or the rows that decide when to stop: change it, and see."""
    rng = np.random.default_rng(0)
    x, keys = rng.normal(size=(120, 2)), rng.integers(0, 40, 120)
    y = np.exp(x @ [1.0, 0.5] + rng.normal(scale=0.2, size=120))
    counts = rng.uniform(0.5, 2, 120)
    # By time, what is later is not seen either; by group, other groups are learned from.
    changed = keys >= 36 if kind == "time" else keys == 7
    unseen = keys < 36 if kind == "time" else changed
    factors = np.where(changed, 70.0, 1.0)
    moved = x * factors[:, np.newaxis] if kind == "time" else x

    before, tested = _predicted(x, y, settings, weight=counts, **{kind: keys})
    after, _ = _predicted(moved, factors * y, settings, weight=counts / factors, **{kind: keys})

    chosen = unseen[tested]
    assert chosen.sum() == (tested & unseen).sum() > 2
    np.testing.assert_allclose(after[:, chosen], before[:, chosen], rtol=1e-5)
    # Which is not for want of a change.
    assert kind == "group" or not np.allclose(after[:, ~chosen], before[:, ~chosen], rtol=0.1)


def _drifting(noise: float, seed: int = 0) -> Fitted:
    """A slope that grows with time, which rows in between give away."""
    rng = np.random.default_rng(seed)
    time = np.arange(200.0)
    x = rng.normal(size=200)
    y = time / 40 * x + rng.normal(scale=noise, size=200)
    return fit(None, x, y, time=time, choose="line", epochs=5, weight_decay=0.3).fitted


def test_by_time_errors_and_coverage_are_those_of_later_rows() -> None:
    """At random, neighbours in time would give the slope away, and the width would look right."""
    fitted = _drifting(0.1)
    shuffled = fit(
        None, fitted.table.x, fitted.table.y, choose="line", epochs=5, weight_decay=0.3
    ).fitted
    forward, mixed = fitted.leaderboard.candidates[1], shuffled.leaderboard.candidates[1]

    assert forward.cross_validation_error > 1.3 * mixed.cross_validation_error
    assert forward.held_out_residuals.shape == (133, 1)
    assert fitted.measured_coverage is not None
    # The errors grow from block to block, so a width from earlier ones is too narrow.
    assert fitted.measured_coverage < 0.85
    said = "of which the 133 latest were predicted from earlier ones"
    assert any(said in line for line in report.lines(fitted))


def test_coverage_by_time_is_by_weight() -> None:
    """Heavy rows that become noisy in the end are held as seldom as they weigh."""
    rng, time = np.random.default_rng(0), np.arange(200.0)
    heavy = time % 5 == 0
    x, counts = rng.normal(size=200), np.where(heavy, 20.0, 1.0)
    y = x + rng.normal(scale=np.where(heavy & (time > 170), 30.0, 0.1))

    settings: dict[str, Any] = {"choose": "line", "epochs": 1, "weight_decay": 0.3, "time": time}
    weighed, plain = (fit(None, x, y, weight=w, **settings).fitted for w in (counts, None))

    assert plain.measured_coverage is not None
    assert weighed.measured_coverage is not None
    assert plain.measured_coverage > 0.8
    assert weighed.measured_coverage < 0.75


@pytest.mark.parametrize("rows", [{}, {"time": np.arange(120)}])
def test_in_the_end_the_rows_that_decided_when_to_stop_are_learned_from(rows: Any) -> None:
    """Where nothing stops early, the published network is that of a training without patience."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 2))
    y = x @ [1.0, -1.0] + rng.normal(scale=0.1, size=120)
    settings: dict[str, Any] = {"epochs": 20, "learning_rate": 0.005, "weight_decay": 0.3, **rows}

    patient, usual = (
        fit(None, x, y, patience=patience, **settings).leaderboard.candidates[-1]
        for patience in (50, 0)
    )

    np.testing.assert_allclose(patient.training_residuals, usual.training_residuals, atol=1e-5)
    assert not np.allclose(patient.held_out_residuals, usual.held_out_residuals, atol=1e-2)


def test_copies_of_a_row_are_no_more_evidence() -> None:
    """Eight copies of six rows, by group, say of a line what the six rows say."""
    x, y = np.arange(6.0), np.array([0.0, 1.0, 1.0, 4.0, 3.0, 5.0])
    settings: dict[str, Any] = {"epochs": 5, "weight_decay": 0.3}

    six = fit(None, x, y, **settings).leaderboard.comparisons[0]
    copies, group = (np.repeat(x, 8), np.repeat(y, 8)), np.repeat(np.arange(6), 8)
    grouped = fit(None, *copies, group=group, **settings).leaderboard.comparisons[0]
    mixed = fit(None, *copies, **settings).leaderboard.comparisons[0]

    assert grouped.gain == pytest.approx(six.gain)
    assert grouped.standard_error == pytest.approx(six.standard_error)
    assert mixed.standard_error < six.standard_error / 2


def test_estimators_take_sample_weights() -> None:
    """As scikit-learn gives them: a weight of 2 is the row twice, one of 0 no row at all."""
    rng = np.random.default_rng(0)
    x, counts = rng.normal(size=(30, 2)), np.tile([1, 2, 0], 10)
    y = x @ [1.0, -2.0] + rng.normal(scale=0.1, size=30)
    settings: dict[str, Any] = {"epochs": 50, "weight_decay": 0.0}
    labels = np.where(counts == 0, "never", np.where(y > 0, "up", "down"))

    weighed = SequentialRegressor(**settings).fit(x, y, sample_weight=counts)
    repeated = SequentialRegressor(**settings).fit(np.repeat(x, counts, 0), np.repeat(y, counts))
    classifier = SequentialClassifier(**settings).fit(x, labels, sample_weight=counts)

    np.testing.assert_allclose(weighed.predict(x), repeated.predict(x), atol=1e-3)
    assert weighed.score(x, y, counts) == pytest.approx(
        repeated.score(np.repeat(x, counts, 0), np.repeat(y, counts)), abs=1e-4
    )
    assert classifier.classes_.tolist() == ["down", "up"]
    assert classifier.score(x[counts > 0], labels[counts > 0], counts[counts > 0]) > 0.9
