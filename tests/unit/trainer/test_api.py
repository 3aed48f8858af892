"""Tests of the Python API: modules of one's own, fitted, compared and published."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import isotherm.trainer
from isotherm.trainer import data, export, fit
from isotherm.trainer.config import DataConfig
from isotherm.trainer.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    ExportError,
    LayerError,
    TrainingError,
)
from isotherm.trainer.layers import ACTIVATIONS
from isotherm.trainer.model import LinearSkip
from isotherm.v1 import contract
from isotherm.v1.contract_pb2 import Contract

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2))
Y = X[:, :1] * X[:, 1:] + 5
LABELS = np.array(["cold", "mild", "warm"])[np.digitize(X[:, 0], [-0.5, 0.5])]

QUICK: dict[str, Any] = {"epochs": 20, "weight_decay": 0.3}


class _Unknown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """Take a Bessel function, which ONNX does not have."""
        answer: Tensor = torch.special.bessel_j0(x)
        return answer


def _named() -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            [
                ("hidden_linear", nn.Linear(2, 8)),
                ("hidden+activation", nn.Tanh()),
                ("output_linear", nn.Linear(8, 1)),
            ]
        )
    )


def _contract(path: Path) -> Contract:
    model = onnx.load(path)
    export.check(model)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    return contract.loads(properties[contract.METADATA_KEY])


def test_a_module_of_ones_own_is_compared_and_published(tmp_path: Path) -> None:
    """With the names of its layers in the file, and its start left as it was."""
    module = _named()
    before = module.state_dict()["hidden_linear.weight"].clone()

    trained = fit(module, X, Y, features=["a", "b"], targets=["c"], units={"c": "degC"}, **QUICK)
    path = trained.publish(tmp_path, "mine")

    names = {part.name for part in onnx.load(path).graph.initializer}
    described = _contract(path)
    assert [one.name for one in trained.leaderboard.candidates] == ["mean", "line", "network"]
    assert "core.hidden_linear.weight" in names
    assert torch.equal(before, module.state_dict()["hidden_linear.weight"])
    assert [feature.name for feature in described.features] == ["a", "b"]
    assert (described.targets[0].name, described.targets[0].unit) == ("c", "degC")
    assert path == tmp_path / "mine" / "1" / "model.onnx"


MODULES: dict[str, Callable[[], nn.Module]] = {
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Linear(2, 8), nn.ELU()), nn.Linear(8, 1)),
    "dropout": lambda: nn.Sequential(nn.Linear(2, 8), nn.GELU(), nn.Dropout(0.1), nn.Linear(8, 1)),
    "batch": lambda: nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1)),
    "layer": lambda: nn.Sequential(nn.Linear(2, 8), nn.LayerNorm(8), nn.SiLU(), nn.Linear(8, 1)),
    "module": lambda: LinearSkip(nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1)), 2, 1),
}


@pytest.mark.parametrize("kind", MODULES)
def test_any_sequential_is_served_as_it_was_trained(kind: str, tmp_path: Path) -> None:
    """Parity is checked before a version appears; the interval comes with it."""
    trained = fit(MODULES[kind](), X, Y, **QUICK)

    described = _contract(trained.publish(tmp_path))

    assert trained.predict(X).shape == (60, 1)
    assert described.HasField("interval")
    assert described.provenance.error_metric == "RMSE"


@pytest.mark.slow
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_on_the_list_is_exported(name: str, tmp_path: Path) -> None:
    """What the list of layers offers can be published."""
    arguments = "0.1, 0.0" if name == "Threshold" else ""

    layers = ["Linear(2, 8)", f"{name}({arguments})", "Linear(8, 1)"]

    assert fit(layers, X, Y, epochs=5, weight_decay=0.3).publish(tmp_path).exists()


def test_batch_statistics_are_trained_fold_by_fold_and_said_to_be() -> None:
    """They cannot be stacked: a row that is left out would be part of them."""
    board = fit(MODULES["batch"](), X, Y, **QUICK).leaderboard

    assert board.chosen.note == "its folds were trained one after the other"
    assert len(board.history.validation) == len(board.history.training) == 20


@pytest.mark.parametrize("outputs", [3, 1])
def test_labels_are_answered_with_probabilities(outputs: int, tmp_path: Path) -> None:
    """One column a class, in the contract's order; one output is enough for two classes."""
    labels = LABELS if outputs == 3 else LABELS == "warm"
    module = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, outputs))

    trained = fit(module, X, labels, targets=["feels"], epochs=200, weight_decay=0.1)
    described = _contract(trained.publish(tmp_path))

    classes = ["cold", "mild", "warm"] if outputs == 3 else ["False", "True"]
    assert list(described.targets[0].classes) == classes
    assert trained.predict(X).shape == (60, len(classes))
    np.testing.assert_allclose(trained.predict(X).sum(axis=1), 1, atol=1e-6)
    assert not described.HasField("interval")
    assert (described.tensors.prediction, described.tensors.lower) == ("y", "")
    assert described.provenance.error_metric == "log loss"
    assert [row.name for row in described.provenance.leaderboard] == [
        "prior",
        "logistic",
        "network",
    ]
    assert trained.leaderboard.chosen.cross_validation_error < 0.5


def test_a_table_can_be_given_as_such(thermometer: data.Table) -> None:
    """What `read` gives is taken as it is; the honest choice is one word."""
    trained = fit(None, thermometer, choose="auto", **QUICK)

    assert trained.leaderboard.chosen.name == "line"
    assert trained.fitted.table is thermometer


def test_a_line_beside_the_network_is_not_penalised() -> None:
    """A heavy penalty leaves the line."""
    x = np.linspace(-1, 1, 30)[:, np.newaxis]

    trained = fit(None, x, 3 * x + 1, skip=True, epochs=500, weight_decay=100.0)

    np.testing.assert_allclose(trained.predict(x), 3 * x + 1, atol=0.05)


def test_a_training_that_diverges_leaves_its_checkpoint(tmp_path: Path) -> None:
    """A mistake in the learning rate costs the training, not what was saved before."""
    folder = tmp_path / "saved"
    with pytest.raises(TrainingError):
        fit(None, X, Y, learning_rate=1e30, checkpoint=folder, checkpoint_every=1, epochs=50)

    with pytest.raises(CheckpointError, match=r"fit\.learning_rate is 1e\+30 there and 0\.02 here"):
        _saved_once(folder)
    assert list(folder.iterdir())


def _saved_once(folder: Path) -> None:
    fit(None, X, Y, checkpoint=folder, checkpoint_every=1, epochs=50)


@pytest.mark.parametrize(
    ("model", "y", "settings", "error", "expected"),
    [
        (nn.Linear(3, 1), Y, {}, LayerError, "takes 3 numbers, but the table has 2 features"),
        (nn.Linear(2, 3), Y, {}, LayerError, "gives 3, but the table has 1 target;"),
        (nn.Linear(2, 2), LABELS, {}, LayerError, "gives 2, but the table has 3 classes;"),
        (nn.Flatten(0), Y, {}, LayerError, r"gives \(4,\) for two rows, expected \(2, 1\)"),
        (None, Y, {"speed": 1}, ConfigError, "fit.speed: Extra inputs"),
        (None, Y, {"loss": "cross_entropy"}, ConfigError, "needs labels; the targets are numbers"),
        (None, LABELS, {"loss": "l1"}, ConfigError, "needs numbers; the target is a label"),
        (None, Y, {"patience": 3}, ConfigError, "fit.patience needs 100 rows, the table has 60"),
        (None, Y, {"choose": "prior"}, ConfigError, "but the leaderboard of this table has mean"),
        (None, Y, {"optimizer": "lbfgs", "batch_size": 8}, ConfigError, "lbfgs takes all rows"),
        (None, Y[:, 0] * 0, {}, DataError, "column 'y' is constant"),
        (None, Y[:9], {}, DataError, "x has 60 rows and y has 9"),
        (None, Y * np.nan, {}, DataError, "y has nan in row 0, column 0; expected finite"),
        (None, np.arange(60).astype(str), {}, DataError, "class '0' of target 'y' has one row"),
        (None, np.full(60, "a"), {}, DataError, "target 'y' is 'a' in every row"),
    ],
)
def test_what_cannot_be_trained_is_named(
    model: nn.Module | None,
    y: Any,
    settings: dict[str, Any],
    error: type[Exception],
    expected: str,
) -> None:
    """The module, the table or the setting, before anything is trained."""
    with pytest.raises(error, match=expected):
        fit(model, X, y, **settings)


@pytest.mark.parametrize(
    ("classes", "y", "expected"),
    [
        (("a", "b", "c"), [0, 0, 1, 1], "class 'c' of target 'kind' is in no row"),
        (("a", "b", "c", "d", "e"), [0, 0, 1, 1], "has 5 classes, more than its 4 rows"),
    ],
)
def test_classes_that_a_model_never_sees_are_named(
    classes: tuple[str, ...], y: list[int], expected: str
) -> None:
    """A table may say that there are more classes than its rows show."""
    columns = (data.Column(name="kind", unit="", datatype="BYTES"),)
    table = data.Table(
        features=(data.Column(name="x", unit="", datatype="FP64"),),
        targets=columns,
        x=np.arange(4.0)[:, np.newaxis],
        y=np.array(y, dtype=np.float64)[:, np.newaxis],
        sha256="",
        classes=(classes,),
    )

    with pytest.raises(DataError, match=expected):
        fit(None, table)


def test_a_module_that_cannot_be_exported_is_an_error_and_nothing_is_lost(tmp_path: Path) -> None:
    """The fit is still there to predict with."""
    trained = fit(nn.Sequential(nn.Linear(2, 4), _Unknown(), nn.Linear(4, 1)), X, Y, **QUICK)

    with pytest.raises(ExportError, match="torch cannot export the model"):
        trained.publish(tmp_path / "models")
    assert not (tmp_path / "models").exists()
    assert trained.predict(X).shape == (60, 1)


def test_the_package_offers_its_names_and_no_others() -> None:
    """They are imported when they are asked for."""
    for name in isotherm.trainer.__all__:
        assert getattr(isotherm.trainer, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'magic'"):
        _ = isotherm.trainer.magic
    assert DataConfig(dataset="thermometer").dataset == "thermometer"


def test_layers_take_their_widths_from_the_table() -> None:
    """So that they fit another table as well: here two features, and three classes."""
    layers = ["Linear(inputs, 4)", "Tanh()", "Linear(4, outputs)"]

    trained = fit(layers, X, LABELS, **(QUICK | {"epochs": 1}))

    first, last = trained.module[0], trained.module[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    assert (first.in_features, last.out_features) == (2, 3)
