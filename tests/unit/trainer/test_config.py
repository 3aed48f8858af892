"""Tests of the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from isotherm.trainer.config import load
from isotherm.trainer.errors import ConfigError


def test_flags_win_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    """Each setting comes from the last place that gives it."""
    path = tmp_path / "train.toml"
    path.write_text('[data]\ndataset = "thermometer"\n[fit]\nepochs = 7\nseed = 3\n')

    config = load(path, {"fit.seed": 4, "fit.epochs": None})

    assert (config.fit.epochs, config.fit.seed, config.fit.learning_rate) == (7, 4, 0.02)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"data.dataset": "thermometer"}, "thermometer"),
        ({"data.file": Path("some/house.csv")}, "house"),
        ({"data.file": Path("some/house.csv"), "name": "villa"}, "villa"),
    ],
)
def test_a_model_is_named_after_its_table_unless_told(
    flags: dict[str, object], expected: str
) -> None:
    """The dataset or the file's stem names the model."""
    assert expected == load(None, flags).name


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a b", "..", "온도"])
def test_a_name_that_is_no_model_name_is_refused(name: str) -> None:
    """A name must be usable as a folder and hold no surprises."""
    with pytest.raises(ConfigError, match="is not a model name"):
        load(None, {"data.dataset": "thermometer", "name": name})


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, "give either a built-in dataset"),
        ({"data.dataset": "thermometer", "data.file": "a.csv"}, "give either a built-in dataset"),
        ({"data.dataset": "thermometer", "data.features": ["a"]}, "has its own columns"),
        ({"data.dataset": "thermometer", "fit.epochs": 0}, "fit.epochs: .* greater than"),
        ({"data.dataset": "thermometer", "fit.learning_rate": float("nan")}, "finite number"),
        (
            {"data.dataset": "thermometer", "model": "forest"},
            "model: 'forest' is not one of 'auto', 'mean', 'line'",
        ),
        ({"data.dataset": "thermometer", "fit.speed": 1}, "fit.speed: Extra inputs"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(flags: dict[str, object], expected: str) -> None:
    """The sentence names the setting and what is allowed."""
    with pytest.raises(ConfigError, match=expected):
        load(None, flags)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    """A broken file is refused with its name and the parser's words."""
    path = tmp_path / "train.toml"
    path.write_text("epochs = = 3")

    with pytest.raises(ConfigError, match=r"train\.toml.*expected a TOML file"):
        load(path, {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file that is not there is refused with its name."""
    with pytest.raises(ConfigError, match=r"train\.toml.*No such file"):
        load(tmp_path / "train.toml", {})


def test_a_section_that_is_no_table_is_named(tmp_path: Path) -> None:
    """A flag cannot go into a section that the file gave as a number."""
    path = tmp_path / "train.toml"
    path.write_text("fit = 3")

    with pytest.raises(ConfigError, match=r"'fit' must be a table"):
        load(path, {"fit.epochs": 3})
