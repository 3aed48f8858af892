"""Tests of layers in torch's notation, and of factories."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from torch import nn

from isotherm.trainer import layers, networks
from isotherm.trainer.config import NetworkConfig
from isotherm.trainer.data import Table
from isotherm.trainer.errors import ExportError, LayerError
from isotherm.trainer.objective import Objective

FACTORY = """
import torch
from torch import nn
class Odd(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)
def fixed():
    return nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))
def sized(features, outputs):
    return nn.Sequential(nn.Linear(features, outputs))
def odd():
    return nn.Sequential(nn.Linear(1, 1), Odd())
def wrong():
    return 3
def broken():
    raise KeyError("weights")
"""


@pytest.fixture(name="module")
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "made_models.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "made_models", raising=False)
    return "made_models"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Linear(1, 13)", nn.Linear(1, 13)),
        ("nn.Linear(1, 13, bias=False)", nn.Linear(1, 13, bias=False)),
        ("Dropout(p=0.2)", nn.Dropout(p=0.2)),
        ("LeakyReLU(0.1)", nn.LeakyReLU(0.1)),
        ("BatchNorm1d(13)", nn.BatchNorm1d(13)),
        ("LayerNorm(13)", nn.LayerNorm(13)),
        (" GELU( ) ", nn.GELU()),
    ],
)
def test_layers_are_written_as_torch_prints_them(text: str, expected: nn.Module) -> None:
    """With their arguments, by place or by name."""
    assert repr(expected) == repr(layers.parse(text))


@pytest.mark.parametrize(
    "text",
    ["", "Linear", "Linear(1)", "Linear(0, 1)", "Dropout(2.0)", "RReLU()", "exit()", "Tanh(", "1"],
)
def test_what_is_no_layer_is_refused_with_a_list_of_those_there_are(text: str) -> None:
    """No code is run to find out."""
    with pytest.raises(LayerError, match=r"is no layer; expected Linear.*Dropout.*Tanh\(\)"):
        layers.parse(text)


def test_arguments_are_values_not_code() -> None:
    """A call inside a call is refused."""
    with pytest.raises(LayerError, match="is no layer"):
        layers.parse("Dropout(__import__('os').getpid())")


@pytest.mark.parametrize(("name", "width"), [("fixed", 4), ("sized", 1)])
def test_a_factory_makes_the_network(
    module: str, thermometer: Table, name: str, width: int
) -> None:
    """It may take the widths of the table."""
    made = networks.build(
        NetworkConfig(factory=f"{module}:{name}"), thermometer, Objective(), seed=0
    )

    assert next(made.parameters()).shape == (width, 1)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("no_such_module:build", "cannot import the factory .*No module named"),
        ("made_models:nothing", "cannot import the factory .*has no attribute 'nothing'"),
        ("made_models:wrong", "gave int, expected an nn.Sequential"),
        ("made_models:broken", "failed: KeyError: 'weights'"),
    ],
)
def test_a_factory_that_fails_is_named(module: str, path: str, expected: str) -> None:
    """With what became of it."""
    assert module in sys.modules or module
    with pytest.raises(LayerError, match=expected):
        layers.from_factory(path, features=1, outputs=1)


def test_a_factory_is_a_flag_and_its_network_must_be_exportable(module: str) -> None:
    """What cannot be exported is refused before it is trained."""
    from isotherm.trainer import data, run
    from isotherm.trainer.config import load

    config = load(None, {"data.dataset": "thermometer", "model": f"{module}:odd"})
    table = data.read(config.data)

    assert (config.model, config.network.factory) == ("network", f"{module}:odd")
    with pytest.raises(ExportError, match="torch cannot export the model"):
        run.check_export(table, config)
