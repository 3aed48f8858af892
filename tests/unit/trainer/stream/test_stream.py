"""Tests of whole streams: what is published is what the same rows would give in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from isotherm.trainer import contract as contracts
from isotherm.trainer import data, export, parity
from isotherm.trainer.errors import ConfigError, DataError, TrainingError
from isotherm.trainer.scaling import Scaling
from isotherm.trainer.stream import baselines, command, fit, prepare
from isotherm.trainer.stream.batches import Batches
from isotherm.trainer.stream.rows import Rows
from isotherm.trainer.world import Alone
from tests.support.streams import config, numbers, write


def _train(settings, created_at, **arguments: Any):
    published = command.train(settings, created_at=created_at, **arguments)
    assert published
    return published, export.contract_of(published.path.read_bytes())


def _answers(published, x):
    session = parity.session(published.path.read_bytes())
    return session.run(None, {"x": np.asarray(x, dtype=np.float32)})


def test_numbers_are_described_by_all_rows(tmp_path, created_at):
    columns = numbers(4000)
    path = write(tmp_path / "house.parquet", columns)
    settings = config(path, data__memory=1, fit__epochs=6)
    published, contract = _train(settings, created_at)
    table = data.read(settings.data)
    scaling = Scaling.of(table.x)
    assert (4000, table.sha256) == (contract.provenance.rows, contract.provenance.data_sha256)
    for index, feature in enumerate(contract.features):
        values = table.x[:, index]
        assert (values.min(), values.max()) == (feature.minimum, feature.maximum)
        assert (feature.mean, feature.standard_deviation) == pytest.approx(
            (scaling.mean[index], scaling.scale[index]), rel=1e-12
        )
        assert (feature.minimum, feature.maximum) == (
            feature.deciles.edges[0],
            feature.deciles.edges[-1],
        )
    board = published.fitted.leaderboard
    assert ["mean", "line", "network"] == [one.name for one in board.candidates]
    assert "network" == board.kept
    assert board.chosen.cross_validation_error < 0.3
    # The noise is 0.1: nine tenths of it lie within 0.165, and no model is perfect.
    assert 0.16 < contract.interval.half_width[0] < 0.5
    _, lower, upper = _answers(published, table.x)
    inside = (lower[:, 0] <= table.y[:, 0]) & (table.y[:, 0] <= upper[:, 0])
    assert inside.mean() == pytest.approx(0.9, abs=0.05)


def test_line_is_that_of_least_squares(tmp_path, created_at):
    columns = numbers(3000)
    columns["y"] = 3 * columns["x0"] - columns["x1"] + 5 + 0.01 * columns["x2"]
    path = write(tmp_path / "line.parquet", columns)
    published, _ = _train(config(path, model="line", fit__epochs=1), created_at)
    x = np.column_stack([columns[f"x{index}"] for index in range(3)])
    assert _answers(published, x)[0][:, 0] == pytest.approx(columns["y"], abs=1e-4)


@pytest.mark.slow
def test_table_in_several_files_is_the_same_table(tmp_path, created_at):
    columns = numbers(3000)
    (tmp_path / "whole").mkdir()
    write(tmp_path / "whole" / "a.parquet", columns, 500)
    (tmp_path / "parts").mkdir()
    for index in range(3):
        part = {name: values[1000 * index : 1000 * (index + 1)] for name, values in columns.items()}
        write(tmp_path / "parts" / f"{index}.parquet", part, 500)
    models = []
    for path in (tmp_path / "whole" / "a.parquet", tmp_path / "parts"):
        features = ["x0", "x1", "x2"]
        settings = config(path, features=features, data__memory=1)
        models.append(_train(settings, created_at)[0].fitted.served.state_dict())
    assert all(bool((models[0][name] == models[1][name]).all()) for name in models[0])


@pytest.mark.slow
def test_label_has_a_prior_and_a_logistic_baseline(tmp_path, created_at):
    columns = numbers(4000)
    columns["y"] = np.array(["cold", "mild", "warm"])[np.digitize(columns["y"], [-0.7, 0.7])]
    path = write(tmp_path / "label.parquet", columns)
    published, contract = _train(config(path, fit__epochs=8, fit__learning_rate=0.02), created_at)
    board = published.fitted.leaderboard
    assert ["prior", "logistic", "network"] == [one.name for one in board.candidates]
    assert ["cold", "mild", "warm"] == [*contract.targets[0].classes]
    prior, logistic, network = (one.cross_validation_error for one in board.candidates)
    assert network < logistic < prior
    (probabilities,) = _answers(published, np.zeros((2, 3)))
    assert probabilities.sum(axis=1) == pytest.approx(1.0)


def _categories(rows: int = 6000) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    town = rng.choice([f"town{index:02}" for index in range(40)], size=rows)
    kind = rng.choice(["flat", "house", "barn"], size=rows, p=[0.6, 0.3, 0.1])
    area = rng.normal(100, 20, size=rows)
    effect = {name: value for value, name in enumerate(sorted(set(town)))}
    price = area + 20 * (kind == "house") + np.array([effect[one] for one in town])
    area[rng.random(rows) < 0.1] = np.nan
    gone = rng.random(rows) < 0.05
    return {"town": town, "kind": pa.array(kind, mask=gone), "area": area, "y": price}


@pytest.mark.slow
def test_categories_and_gaps_are_as_in_memory(tmp_path, created_at):
    path = write(tmp_path / "town.parquet", _categories(), 700)
    settings = config(path, data__missing="indicator", data__memory=2, fit__epochs=10)
    published, contract = _train(settings, created_at)
    table = data.read(settings.data)
    for streamed, column in zip(contract.features, table.features, strict=True):
        assert (column.name, column.categories) == (streamed.name, tuple(streamed.categories))
    expected = contracts.features(table)
    for streamed, held in zip(contract.features, expected, strict=True):
        assert (streamed.missing, streamed.missing_rate) == (held.missing, held.missing_rate)
        assert streamed.unknown_rate == pytest.approx(held.unknown_rate, abs=1e-12)
        assert (streamed.mean, streamed.standard_deviation) == pytest.approx(
            (held.mean, held.standard_deviation), rel=1e-6
        )
        if held.categories:
            assert held.deciles == streamed.deciles
    y = _answers(published, [[-1.0, np.nan, np.nan], [0.0, 1.0, 100.0]])[0]
    assert np.isfinite(y).all()
    # What the towns, the kinds and the areas explain is nearly everything but the gaps.
    board = published.fitted.leaderboard
    assert (
        board.candidates[1].cross_validation_error
        < 0.75 * board.candidates[0].cross_validation_error
    )


@pytest.mark.slow
def test_weights_count_in_the_line(tmp_path, created_at):
    columns = numbers(3000)
    half = np.arange(3000) % 2 == 0
    columns["y"] = np.where(half, columns["x0"], -columns["x0"])
    columns["w"] = np.where(half, 1.0, 0.0)
    path = write(tmp_path / "weights.parquet", columns)
    settings = config(path, features=["x0", "x1"], data__weight="w", model="line", fit__epochs=1)
    published, _ = _train(settings, created_at)
    y = _answers(published, [[1.0, 0.0], [-2.0, 0.0]])[0][:, 0]
    assert y == pytest.approx([1.0, -2.0], abs=1e-4)


@pytest.mark.slow
def test_transform_is_learned_and_answered_in_the_unit(tmp_path, created_at):
    columns = numbers(3000)
    columns["y"] = np.exp(columns["x0"])
    path = write(tmp_path / "log.parquet", columns)
    settings = config(path, data__transforms={"y": "log"}, model="line", fit__epochs=1)
    published, contract = _train(settings, created_at)
    assert "log" == contract.targets[0].transform
    y = _answers(published, [[0.0, 0.0, 0.0], [2.0, 1.0, 0.0]])[0][:, 0]
    assert y == pytest.approx(np.exp([0.0, 2.0]), rel=1e-4)


def test_rows_of_weight_0_are_neither_learned_from_nor_measured_by(tmp_path):
    columns = numbers(3000)
    columns["w"] = np.arange(3000) % 3 / 2
    path = write(tmp_path / "weights.parquet", columns)
    settings = config(path, features=["x0", "x1"], data__weight="w")
    prepared = prepare.prepare(settings, world=Alone())
    found, rows = prepared.survey, Rows(prepared.frame)
    assert 2000 == found.learned.sum() + len(found.held_out)
    assert found.held_out[:, -1].min() > 0
    assert found.sample[:, -1].min() > 0
    # The weights themselves do not matter, their ratios do.
    learned = [
        part[slice(None) if chosen is None else chosen, -1].copy()
        for group in prepared.frame.files.groups
        for part, chosen in rows.learned(group)
    ]
    assert np.concatenate(learned).mean() == pytest.approx(1, abs=0.01)


def test_time_holds_out_the_latest_rows(tmp_path):
    columns = numbers(3000)
    day = np.random.default_rng(0).permutation(3000)
    columns["day"] = pa.array(day).cast(pa.int32()).cast(pa.date32())
    columns["x0"] = day.astype(np.float64)
    path = write(tmp_path / "time.parquet", columns)
    settings = config(path, features=["x0", "x1"], data__time="day", data__split="time")
    prepared = prepare.prepare(settings, world=Alone())
    held_out = prepared.survey.held_out[:, 0]
    assert np.array_equal(np.arange(2700, 3000), np.sort(held_out))
    assert 2700 == prepared.survey.learned.sum()


def test_group_is_held_out_as_a_whole(tmp_path):
    columns = numbers(3000)
    group = np.arange(3000) % 60
    columns["x0"], columns["who"] = group.astype(np.float64), [f"who{one}" for one in group]
    path = write(tmp_path / "group.parquet", columns)
    settings = config(
        path, features=["x0", "x1"], data__group="who", data__split="group", data__held_out=0.2
    )
    prepared = prepare.prepare(settings, world=Alone())
    held_out = set(prepared.survey.held_out[:, 0])
    assert 8 <= len(held_out) <= 18
    assert 50 * len(held_out) == len(prepared.survey.held_out)
    assert len(held_out) == len(set(prepared.survey.keys))
    result = fit.fit(prepared, {"network": nn.Sequential(nn.Linear(2, 1))}, world=Alone())
    # Rows of a group err together: the standard error is that of so many groups.
    tested = result.fitted.tested
    assert len(held_out) == len(np.unique(tested.split.keys))


@pytest.mark.slow
def test_patience_ends_a_training_that_gets_no_better(tmp_path, created_at):
    columns = numbers(2000)
    columns["y"] = np.random.default_rng(1).normal(size=2000)
    path = write(tmp_path / "noise.parquet", columns)
    settings = config(
        path, fit__patience=2, fit__epochs=40, model="network", fit__learning_rate=0.1
    )
    published, _ = _train(settings, created_at)
    assert len(published.fitted.leaderboard.history.training) < 40


@pytest.mark.parametrize("patience", [0, 5])
def test_rows_that_decide_when_to_stop_measure_nothing(tmp_path, patience):
    path = write(tmp_path / "a.parquet", numbers(2000))
    settings = config(path, features=["x0", "x1"], fit__patience=patience, fit__epochs=1)
    prepared = prepare.prepare(settings, world=Alone())
    rows = prepared.survey.held_out
    held_out = Batches(prepared.frame, torch.device("cpu")).held_out(rows, stopping=patience > 0)
    deciding = (np.arange(len(rows)) % 2 == 1) & (patience > 0)
    assert np.array_equal(deciding, held_out.watched > 0)
    assert np.array_equal(~deciding, held_out.weights > 0)
    result = fit.fit(prepared, {"network": nn.Sequential(nn.Linear(2, 1))}, world=Alone())
    assert np.array_equal(rows[~deciding, 0], result.fitted.tested.x[:, 0])


def test_little_memory_holds_out_no_more_than_it_keeps_and_warns_of_the_order(tmp_path, caplog):
    path = write(tmp_path / "a.parquet", numbers(40_000), 40_000)
    prepared = prepare.prepare(config(path, data__memory=1), world=Alone())
    survey = prepared.survey
    assert 40_000 == survey.learned.sum() + len(survey.held_out)
    assert len(survey.held_out) < 0.1 * 40_000
    fit.training(prepared, {"network": nn.Sequential(nn.Linear(3, 1))}, world=Alone())
    assert "only 0.5 row groups fit into data.memory (1 MiB) at a time" in caplog.text


def test_prior_leaves_no_class_impossible(tmp_path):
    columns = numbers(1000)
    columns["y"] = np.where(np.arange(1000) < 2, "rare", "usual")
    prepared = prepare.prepare(config(write(tmp_path / "a.parquet", columns)), world=Alone())
    sums = replace(prepared.survey.sums, classes=np.array([0.0, 98.0]))
    answers = baselines.constant(prepared.frame, sums)(torch.zeros(1, 3)).softmax(dim=1)
    assert answers.tolist()[0] == pytest.approx([0.01, 0.99])


_GAP = {"x1": np.where(np.arange(4000) == 3210, np.nan, 1.0 * np.arange(4000))}
_INFINITE = {"x1": np.where(np.arange(4000) == 3210, np.inf, 1.0 * np.arange(4000))}


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        (
            _GAP,
            {},
            r"'x1' of .* an empty cell in row 3211 \(row 211 of row group 6 .*--missing mean",
        ),
        (_INFINITE, {}, r"'x1' of .* has inf in row 3211 \(row 211 of row group 6"),
        ({"x1": np.ones(4000)}, {}, r"'x1' of .* is constant \(1 in every row\)"),
        (
            {"y": _GAP["x1"]},
            {},
            r"'y' of .* has an empty cell in row 3211 .*fill or remove the row",
        ),
        ({"x1": [f"{one}" for one in range(4000)]}, {}, r"'x1' of .* has its numbers as text"),
        (
            {"x1": pa.array(np.arange(4000)).cast(pa.timestamp("s"))},
            {},
            r"'x1' of .*expected numbers",
        ),
        ({}, {"features": ["x0", "z"]}, r"has no column 'z'; its columns are: x0, x1, x2, y"),
        ({"y": ["a"] * 4000}, {}, r"'y' of .* is constant \('a' in every row\)"),
        ({"y": ["a"] * 3999 + ["b"]}, {}, r"'y' of .* has class 'b' in one row only"),
        ({}, {"data__held_out": 0.0001}, r"held out and .* too few to stream"),
    ],
)
def test_rows_that_cannot_be_learned_from_are_refused(
    tmp_path, created_at, changes, settings, message
):
    path = write(tmp_path / "wrong.parquet", numbers(4000) | changes)
    with pytest.raises(DataError, match=message):
        command.train(config(path, **settings), created_at=created_at)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fit__optimizer": "lbfgs", "fit__batch_size": None}, "needs all rows at once"),
        (
            {"fit__batch_size": 100_000, "data__memory": 1},
            r"does not fit into data.memory .*allow \d+ MiB",
        ),
        ({"fit__loss": "cross_entropy"}, "needs labels"),
    ],
)
def test_settings_that_do_not_suit_a_stream_are_refused(tmp_path, created_at, settings, message):
    path = write(tmp_path / "large.parquet", numbers(40_000, features=2), 10_000)
    with pytest.raises(ConfigError, match=message):
        command.train(config(path, **settings), created_at=created_at)


def test_several_processes_are_not_told_to_keep_it_in_memory(tmp_path, created_at):
    """They share a stream; a setting that says otherwise would be passed over."""
    world = Alone()
    world.size = 2
    path = write(tmp_path / "small.parquet", numbers(400, features=2), 100)
    with pytest.raises(ConfigError, match="2 processes share the rows of a stream, and"):
        command.train(config(path, data__stream=False), created_at=created_at, world=world)


def test_several_processes_do_not_share_one_device(tmp_path, created_at):
    path = write(tmp_path / "a.parquet", numbers(100))
    world = Alone()
    world.size = 2
    settings = config(path, fit__device="cuda:1")
    with pytest.raises(ConfigError, match="'cuda:1', and 2 processes have a device each"):
        command.train(settings, created_at=created_at, world=world)


def test_loss_that_leaves_the_numbers_ends_the_training(tmp_path, created_at):
    path = write(tmp_path / "far.parquet", numbers(4000))
    settings = config(path, fit__optimizer="sgd", fit__learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"of the network became .* in epoch 1.*learning rate"):
        command.train(settings, created_at=created_at)


def test_table_that_would_not_fit_is_streamed_by_itself(tmp_path, monkeypatch):
    path = write(tmp_path / "large.parquet", numbers(4000))
    settings = config(path).data.model_copy(update={"stream": None})
    assert not command.wanted(settings)
    monkeypatch.setattr(command, "available", lambda: 100_000)
    assert "GiB are free" in command.wanted(settings)
    assert not command.wanted(settings.model_copy(update={"stream": False}))
    assert "more than one file" in command.wanted(settings.model_copy(update={"file": tmp_path}))
    assert not command.wanted(settings.model_copy(update={"file": tmp_path / "a.csv"}))
