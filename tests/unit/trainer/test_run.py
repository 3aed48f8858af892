"""Tests of one training run."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path

import onnx
import pytest

from isotherm.trainer import run
from isotherm.trainer.config import TrainConfig
from isotherm.trainer.errors import RepositoryError, RuntimeMissingError


def test_a_run_publishes_one_file_and_nothing_else(
    published: run.Published, config: TrainConfig
) -> None:
    """The repository holds the version, and no staging folder."""
    files = [path for path in config.repository.rglob("*") if path.is_file()]

    assert files == [config.repository / "thermometer" / "1" / "model.onnx"]
    assert published.path == files[0]
    assert [path.name for path in config.repository.iterdir()] == ["thermometer"]


def test_the_file_says_how_it_was_trained(content: bytes) -> None:
    """The recipe is in the metadata; the folders of the machine are not."""
    properties = {p.key: p.value for p in onnx.load_from_string(content).metadata_props}

    recipe = json.loads(properties[run.TRAINING_KEY])

    assert set(recipe) == {"coverage", "fit", "model", "network"}
    assert recipe["network"]["layers"] == ["Linear(1, 13)", "Tanh()", "Linear(13, 1)"]
    assert recipe["fit"]["weight_decay"] == [0.3, 0.1, 1.0, 3.0]
    assert (recipe["fit"]["optimizer"], recipe["fit"]["seed"]) == ("adam", 0)


def test_pictures_lie_beside_the_repository(published: run.Published, config: TrainConfig) -> None:
    """Inside it, a server would take them for a model."""
    paths = run.draw(published, config)

    assert {path.parent for path in paths} == {config.repository.parent / "plots" / "thermometer-1"}


def test_pictures_that_cannot_be_written_are_named(
    published: run.Published, config: TrainConfig, tmp_path: Path
) -> None:
    """The sentence names the folder and the way out."""
    (tmp_path / "plots").write_text("in the way")

    with pytest.raises(RepositoryError, match=r"cannot write the pictures to .*choose another"):
        run.draw(published, config.model_copy(update={"plots": tmp_path / "plots"}))


def test_without_a_runtime_nothing_is_trained(
    config: TrainConfig, tmp_path: Path, created_at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would fail at the end fails at the start, and leaves no folder."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    repository = tmp_path / "models"

    with pytest.raises(RuntimeMissingError):
        run.train(config.model_copy(update={"repository": repository}), created_at=created_at)

    assert not repository.exists()


def test_a_table_far_from_zero_is_exported_within_its_tolerance(
    tmp_path: Path, created_at: datetime
) -> None:
    """Large offsets in feature and target cost float32 digits, which the tolerance knows."""
    path = tmp_path / "far.csv"
    rows = "".join(f"{1e6 + i},{5e6 + 3 * i + i % 3}\n" for i in range(12))
    path.write_text("a,y\n" + rows)
    config = TrainConfig.model_validate(
        {
            "name": "far",
            "data": {"file": path, "features": ["a"], "targets": ["y"]},
            "repository": tmp_path / "models",
            "fit": {"epochs": 20},
        }
    )

    published = run.train(config, created_at=created_at)

    assert published.path.exists()
