"""Tests of the contract that the model file carries."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isotherm.trainer import contract, data
from isotherm.trainer.config import TrainConfig
from isotherm.trainer.data import Column, Table
from isotherm.trainer.estimator import Fitted
from isotherm.v1 import contract_pb2 as v1


def test_it_names_the_columns_and_the_tensors(described: v1.Contract) -> None:
    """A client finds the units and the names to send by."""
    feature, target = described.features[0], described.targets[0]

    assert (feature.name, feature.unit, feature.datatype) == ("t_u", "degF", "FP64")
    assert (target.name, target.unit, target.datatype) == ("t_c", "degC", "FP64")
    assert described.tensors == v1.Tensors(input="x", prediction="y", lower="lower", upper="upper")
    assert described.non_finite == v1.NON_FINITE_REFUSE


def test_it_states_the_range_in_which_it_was_trained(described: v1.Contract) -> None:
    """The ranges are those of the readings, as float32 holds them."""
    feature, target = described.features[0], described.targets[0]

    assert (feature.minimum, feature.maximum) == (float(np.float32(21.8)), float(np.float32(81.9)))
    assert feature.mean == pytest.approx(51.8, abs=5e-4)
    assert (target.minimum, target.maximum) == (-4.0, 28.0)
    assert sum(feature.deciles.counts) == sum(target.deciles.counts) == 11


def test_deciles_count_their_upper_edge() -> None:
    """Bins are (low, high], and the first one takes its lower edge too."""
    histogram = contract.deciles(np.arange(0.0, 11.0))

    assert list(histogram.edges) == pytest.approx(list(range(11)))
    assert list(histogram.counts) == [2, *[1] * 9]


def test_equal_deciles_are_merged() -> None:
    """A column of two values has one bin, not ten of which nine are empty."""
    histogram = contract.deciles(np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]))

    assert list(histogram.edges) == [0.0, 0.5, 1.0]
    assert list(histogram.counts) == [3, 3]


def test_equal_values_make_no_bin() -> None:
    """A model that always answers the same has no histogram of its predictions."""
    assert contract.deciles(np.full(20, 3.5)) == v1.Histogram()


def test_it_says_how_the_model_s_predictions_lie(described: v1.Contract, fitted: Fitted) -> None:
    """Live predictions are compared with these: they vary less than the truth."""
    answers = fitted.served.answers(fitted.table.x)
    known = described.targets[0].predictions

    assert known.mean == pytest.approx(answers.mean())
    assert known.standard_deviation == pytest.approx(answers.std())
    assert sum(known.deciles.counts) == 11
    assert known.deciles.edges[0] == pytest.approx(answers.min())
    assert known.deciles.edges[-1] == pytest.approx(answers.max())


def test_predictions_are_told_by_their_column() -> None:
    """Beside a label, whose classes have a column each; what is not finite is left out."""
    column: dict[str, Any] = {"unit": "", "datatype": "FP64"}
    table = Table(
        x=np.zeros((4, 1)),
        y=np.array([[0.0, 1.0], [1.0, 2.0], [0.0, 3.0], [1.0, 4.0]]),
        features=(Column(name="x", **column),),
        targets=(Column(name="kind", **column), Column(name="size", **column)),
        sha256="",
        classes=(("a", "b"), ()),
    )
    answers = np.array([[1, 0, 5.0], [0, 1, 6.0], [1, 0, 7.0], [0, 1, np.nan]])
    kind, size = contract.targets(table, answers)

    assert not kind.HasField("predictions")
    assert (size.predictions.mean, sum(size.predictions.deciles.counts)) == (6.0, 3)


def test_golden_rows_are_what_torch_answers(described: v1.Contract, fitted: Fitted) -> None:
    """The outputs belong to the inputs, in the order of the rows."""
    inputs = np.array(described.golden.inputs).reshape(-1, 1)

    assert described.golden.rows == 64
    np.testing.assert_array_equal(
        np.array(described.golden.outputs), fitted.served.answers(inputs).ravel()
    )


@pytest.mark.parametrize("features", [1, 3])
def test_golden_rows_reach_beyond_the_table_and_copy_none_of_it(features: int) -> None:
    """The grid covers the quantiles and a little beyond, between the rows of the table."""
    x = np.random.default_rng(0).normal(size=(62, features))

    inputs = contract.golden_inputs(x, seed=0)

    assert inputs.shape == (64, features)
    assert (inputs.min(axis=0) < x.min(axis=0)).all()
    assert (inputs.max(axis=0) > x.max(axis=0)).all()
    copied = (inputs[:, np.newaxis] == x.astype(np.float32)).all(axis=2).any(axis=1).sum()
    # With one column, its minimum and maximum are rows too; the contract states them anyway.
    assert copied == (2 if features == 1 else 0)


@pytest.mark.parametrize("wanted", [1, 3, 400])
def test_golden_rows_of_categories_are_whole_codes_and_hold_unknown_and_empty_cells(
    wanted: int,
) -> None:
    """Every code that there is room for, the unknown value at either end, and NaN where allowed."""
    town = Column(
        name="t", unit="", datatype="BYTES", categories=tuple("abcdefg"), missing="unknown"
    )
    size = Column(name="s", unit="", datatype="FP64", missing="mean")
    columns = ([town, size, Column(name="a", unit="", datatype="FP64")] * 134)[:wanted]
    rng = np.random.default_rng(0)
    x = np.column_stack(
        [rng.integers(0, 7, 62) if one is town else rng.random(62) for one in columns]
    ).astype(np.float64)
    x[:5, [one.missing != "refuse" for one in columns]] = np.nan

    inputs = contract.golden_inputs(x, 0, columns)

    for column, cells in zip(columns, inputs.T, strict=True):
        known = cells[~np.isnan(cells)]
        assert (len(known) < len(cells)) == (column.missing != "refuse")
        assert len(known) > len(cells) / 3
        assert len(np.unique(known)) > 2
        if column.categories:
            assert (known == known.round()).all()
            assert {-1.0, 7.0} <= {*known}
            assert wanted == 400 or {*known} == {*range(-1, 8)}
    gaps = {tuple(row) for row in np.isnan(inputs).tolist()}
    if wanted == 3:
        # Each alone, and all together.
        assert {(True, False, False), (False, True, False), (True, True, False)} <= gaps


def test_a_contract_says_what_its_categories_and_gaps_are() -> None:
    """Statistics are of the codes that are known, and of the numbers that are there."""
    columns = {
        "town": [*"aaaabbbc", None, None],
        "size": [1.0, 2.0, None, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0],
        "rent": [*range(9), None],
        "y": range(10),
    }
    policies = {"size": "mean", "rent": "indicator"}
    table = data.table(columns, features=["town", "size", "rent"], targets=["y"], missing=policies)

    town, size, rent = contract.features(table)

    assert [*town.categories] == ["a", "b"]
    assert town.missing == v1.MISSING_UNKNOWN
    assert [town.missing_rate, town.unknown_rate] == pytest.approx([0.2, 0.3])
    assert [town.minimum, town.maximum, town.mean] == pytest.approx([0, 1, 3 / 7])
    assert [*town.deciles.edges] == [-0.5, 0.5, 1.5]
    assert [*town.deciles.counts] == [4, 3]
    assert size.missing == v1.MISSING_MEAN
    assert [size.missing_rate, size.minimum, size.mean] == pytest.approx([0.1, 1, 52 / 9])
    assert sum(size.deciles.counts) == 9
    assert rent.missing == v1.MISSING_INDICATOR
    assert not rent.categories


@pytest.mark.parametrize(("features", "rows"), [(100, 64), (400, 20), (5000, 8)])
def test_wide_tables_get_fewer_golden_rows(features: int, rows: int) -> None:
    """The contract has a limit of a mebibyte."""
    x = np.random.default_rng(0).normal(size=(5, features))

    assert contract.golden_inputs(x, seed=0).shape == (rows, features)


def test_the_tolerance_follows_the_targets_spread(described: v1.Contract, fitted: Fitted) -> None:
    """A hundred-thousandth of the deviation, and of the answer."""
    golden = described.golden

    assert golden.absolute_tolerance == pytest.approx(1e-5 * fitted.table.y.std())
    assert golden.relative_tolerance == pytest.approx(1e-5)


@pytest.mark.parametrize("spread", [9.0, 0.1])
def test_the_tolerance_follows_the_spread_of_a_logarithm(
    fitted: Fitted, config: TrainConfig, created_at: datetime, spread: float
) -> None:
    """A small difference before the way back is a share of the answer behind it."""
    rows = fitted.table.rows
    logs = np.linspace(-spread, spread, rows)[:, np.newaxis]
    target = replace(fitted.table.targets[0], transform="log")
    table = replace(fitted.table, targets=(target,), y=np.exp(logs))

    golden = contract.describe(replace(fitted, table=table), config, created_at).golden

    assert golden.relative_tolerance == pytest.approx(1e-5 * max(1.0, logs.std()))


def test_the_interval_says_how_it_was_calibrated(described: v1.Contract, fitted: Fitted) -> None:
    """Half-width in the target's unit, from rows that were left out."""
    assert described.interval.coverage == pytest.approx(0.9)
    assert list(described.interval.half_width) == fitted.half_width.tolist()
    assert described.interval.method == (
        "conformal, leave-one-out residuals; measured coverage 90.9%"
    )


def test_it_says_where_the_model_comes_from(described: v1.Contract, fitted: Fitted) -> None:
    """Data, seed, time, versions, and the leaderboard with one chosen model."""
    provenance = described.provenance

    assert (provenance.data_sha256, provenance.rows) == (fitted.table.sha256, 11)
    assert provenance.created_at == "2025-01-02T03:04:05Z"
    assert {"isotherm", "numpy", "onnx", "onnxscript", "python", "torch"} == set(
        provenance.package_versions
    )
    assert [(row.name, row.chosen) for row in provenance.leaderboard] == [
        ("mean", False),
        ("line", False),
        ("network", True),
    ]
    assert provenance.leaderboard[1].cross_validation == "leave-one-out"


def test_the_time_is_written_in_utc(fitted: Fitted, config: TrainConfig) -> None:
    """A time of another zone is converted."""
    seoul = datetime(2025, 1, 1, 9, 0, tzinfo=timezone(timedelta(hours=9)))

    described = contract.describe(fitted, config, seoul)

    assert described.provenance.created_at == "2025-01-01T00:00:00Z"


def test_the_commit_is_that_of_the_working_directory(
    fitted: Fitted,
    config: TrainConfig,
    created_at: datetime,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing before the first commit, then what git says."""
    monkeypatch.chdir(tmp_path)
    _git("init", "--quiet")
    before = contract.describe(fitted, config, created_at)
    _git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "-mx")
    after = contract.describe(fitted, config, created_at)

    assert before.provenance.git_commit == ""
    assert after.provenance.git_commit == _git("rev-parse", "HEAD").strip()


def _git(*arguments: str) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
