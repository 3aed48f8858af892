"""Tests of the search space: what is searched, what is not, and what a choice stands for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from isotherm.trainer import data, networks, objective
from isotherm.trainer.config import TrainConfig, load, validated
from isotherm.trainer.data import Table
from isotherm.trainer.errors import ConfigError
from isotherm.trainer.tune import search, space, tuning
from isotherm.trainer.tune.config import TuneConfig

USUAL = {
    *("depth", "width", "activation", "skip"),
    *("optimizer", "learning_rate", "weight_decay", "schedule"),
}


def configured(**settings: object) -> TrainConfig:
    return load(None, {"data.dataset": "thermometer", **settings})


def searched(table: Table, **settings: object) -> set[str]:
    return {*space.of(configured(**settings), table).dimensions}


def test_a_small_table_is_searched_over_shape_and_fit(thermometer: Table) -> None:
    """The batch is not among them: so few rows are one batch."""
    assert searched(thermometer) == USUAL


def test_a_large_table_is_searched_over_batch_sizes_too() -> None:
    """From 2049 rows on, where a batch is no longer the table."""
    rng = np.random.default_rng(0)
    columns = {"a": rng.normal(size=2049), "b": rng.normal(size=2049)}
    table = data.table(columns, features=["a"], targets=["b"])

    assert searched(table) == USUAL | {"batch_size"}


def test_what_the_user_settles_is_not_searched(thermometer: Table) -> None:
    """By a flag, or by the TOML file."""
    found = searched(thermometer, **{"fit.learning_rate": 0.1, "network.skip": True})

    assert found == USUAL - {"learning_rate", "skip"}


def test_of_layers_of_the_users_own_only_the_fit_is_searched(thermometer: Table) -> None:
    """The layers stay as they are."""
    layers = ("Linear(1, 5)", "Tanh()", "Linear(5, 1)")
    chosen = space.of(configured(**{"network.layers": layers}), thermometer)
    config = chosen.applied({"learning_rate": 0.5})

    assert {"optimizer", "learning_rate", "weight_decay", "schedule"} == {*chosen.dimensions}
    assert config.network.layers == layers
    assert config.fit.learning_rate == 0.5


def test_the_space_can_be_changed_name_by_name(thermometer: Table) -> None:
    """A range, a list, a value that is not searched, a name that is not usual."""
    given: Mapping[str, object] = {
        "width": {"low": 4, "high": 64, "step": 4},
        "activation": ["ReLU"],
        "depth": 2,
        "dropout": {"low": 0.0, "high": 0.5},
    }
    chosen = space.of(configured(**{"tune.space": given}), thermometer)
    config = chosen.applied({"width": 8, "activation": "ReLU", "dropout": 0.25, "skip": False})

    assert {*chosen.dimensions} == (USUAL | {"dropout"}) - {"depth"}
    assert config.network.layers == (
        *("Linear(inputs, 8)", "ReLU()", "Dropout(0.25)"),
        *("Linear(8, 8)", "ReLU()", "Dropout(0.25)"),
        "Linear(8, 1)",
    )


def test_every_corner_of_the_usual_space_is_a_network(thermometer: Table) -> None:
    """It fits the table, and the leaderboard takes it."""
    chosen = space.of(configured(), thermometer)
    config = chosen.applied({"depth": 3, "width": 128, "activation": "GELU", "skip": True})
    built = networks.build(config.network, thermometer, objective.of(thermometer), 0)

    assert sum(value.numel() for value in built.parameters()) == 33_411


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tune.space": {"rate": [1]}}, "'rate' cannot be searched; expected one of depth"),
        ({"tune.space": {"width": {"low": 9, "high": 9}}}, "expected low < high"),
        ({"tune.space": {"width": {"low": 0, "high": 9, "log": True}}}, "must be above 0"),
        (
            {"tune.space": {"width": {"low": 9, "high": 4}}},
            "tune.space.width.range: low is 9 and high 4; expected low < high",
        ),
        ({"tune.space": {"width": "wide"}}, "'width' has 'wide'; expected whole numbers"),
        ({"tune.space": {"width": {"low": 4, "high": 8.5}}}, "'width' has 8.5; expected whole"),
        ({"tune.space": {"skip": [1, 0]}}, "'skip' has 1; expected true or false"),
        ({"tune.space": {"width": []}}, "'width' has nothing to choose from"),
        ({"tune.space": {"activation": ["Relu"]}}, "'Relu' is no activation; expected one of"),
        ({"tune.space": {"learning_rate": {"low": -1.0, "high": 1.0}}}, "greater than 0"),
        (
            {"tune.space": {"optimizer": ["adam", "lbfgs"], "batch_size": [2, 4]}},
            "lbfgs takes all rows at once",
        ),
        (
            {"tune.space": {"learning_rate": [0.1]}, "fit.learning_rate": 0.1},
            "'learning_rate' is set in [fit] and in [tune.space]",
        ),
        (
            {"tune.space": {"depth": [1, 2]}, "network.layers": ["Linear(1, 1)"]},
            "'depth', and the network has layers of its own",
        ),
    ],
)
def test_what_cannot_be_searched_is_refused(
    thermometer: Table, settings: Mapping[str, object], said: str
) -> None:
    """Before the search, with the name of the culprit."""
    with pytest.raises(ConfigError) as raised:
        space.of(configured(**settings), thermometer)

    assert said in str(raised.value)


def test_a_space_of_single_values_is_no_search(thermometer: Table) -> None:
    """`isotherm train` is for that."""
    one = dict.fromkeys(USUAL, 1) | {
        "activation": "Tanh",
        "optimizer": "adam",
        "schedule": "constant",
        "skip": False,
    }
    with pytest.raises(ConfigError, match="leaves nothing to search"):
        space.of(configured(**{"tune.space": one}), thermometer)


def test_a_file_for_both_commands_has_a_section_for_the_search() -> None:
    """`isotherm train` takes the same file, and passes the section over."""
    values = {
        "name": "a",
        "data": {"dataset": "thermometer"},
        "tune": {"trials": 3, "jobs": 2, "space": {"width": {"low": 2, "high": 9, "log": True}}},
    }

    assert validated(values).tune.trials == 3
    with pytest.raises(ConfigError, match=r"tune\.trials"):
        validated({**values, "tune": {"trials": 0}})


@pytest.mark.parametrize(
    ("settings", "rows", "expected"),
    [
        ({}, 51, True),
        # One row is left out at a time.
        ({}, 50, False),
        ({"prune": False}, 51, False),
        # The errors of different losses are no measure of each other.
        ({"space": {"loss": ["mse", "l1"]}}, 51, False),
    ],
)
def test_trials_are_given_up_where_their_losses_say_something(
    settings: Mapping[str, object], rows: int, *, expected: bool
) -> None:
    """As the documentation has it."""
    assert search.prunes(TuneConfig.model_validate(settings), rows) is expected


def test_a_search_goes_on_on_another_device(thermometer: Table) -> None:
    """What is faster there changes no error; anything else of the fit would be another search."""

    def identity(**settings: object) -> Mapping[str, object]:
        fit = {f"fit.{name}": value for name, value in settings.items()}
        return tuning.identity(space.of(configured(**fit), thermometer), "rmse")

    ours = identity()

    assert identity(device="cpu") == identity(cuda_graphs=False) == ours
    assert identity(precision="bf16") != ours
