"""Tests of layers that learn in bfloat16."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
import torch
from torch import nn

from isotherm.trainer import api, data, precision, settings
from isotherm.trainer.config import FitConfig, validated
from isotherm.trainer.errors import ConfigError
from isotherm.trainer.stack import Copies, Single, Stack


def network(width: int) -> nn.Sequential:
    """A network of two inputs and one output."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 1))


@pytest.mark.parametrize("copies", [Single(network(8)), Stack(network(8), 3)])
def test_by_default_nothing_changes(copies: Copies) -> None:
    """The very call that it was."""
    assert precision.forward(copies, FitConfig()) is copies


@pytest.mark.parametrize("copies", [Single(network(8)), Stack(network(8), 3)])
def test_in_bf16_the_products_are_coarser_and_all_else_is_float32(copies: Copies) -> None:
    """Outputs, weights and gradients; some three digits are left."""
    x = torch.randn(copies.size, 50, 2)
    exact = copies(x)
    coarse = precision.forward(copies, FitConfig(precision="bf16"))(x)
    torch.autograd.backward(coarse.square().sum())
    difference = (coarse - exact).abs().max().item()

    assert 1e-5 < difference < 0.02
    assert {coarse.dtype, *(each.dtype for each in copies.parameters.values())} == {torch.float32}
    assert {each.grad.dtype for each in copies.parameters.values() if each.grad is not None} == {
        torch.float32
    }


@pytest.mark.parametrize(
    ("width", "has", "lower"), [(8, True, False), (20_000, True, True), (20_000, False, False)]
)
def test_auto_is_for_large_networks_where_the_device_has_it(
    width: int, has: bool, lower: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere it would be slower."""
    monkeypatch.setattr(precision, "has_instructions", lambda _device: has)
    copies = Single(network(width))
    forward = precision.forward(copies, FitConfig(precision="auto"))

    assert (forward is not copies) is lower


def test_lbfgs_refuses_it() -> None:
    """Its line search would compare rounding."""
    table = {"a": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 2.0, 3.0, 5.0]}
    with pytest.raises(ConfigError, match="lbfgs"):
        api.fit(None, table, features=["a"], targets=["y"], optimizer="lbfgs", precision="bf16")


def test_the_recipe_tells_of_it_where_it_is_used(thermometer: data.Table) -> None:
    """Else files and checkpoints are those of a trainer without the choice."""
    told: dict[str, Any] = {}
    for choice in ("float32", "auto"):
        values = {"name": "t", "data": {"dataset": "thermometer"}, "fit": {"precision": choice}}
        told[choice] = settings.recipe(thermometer, validated(values))["fit"]

    assert told["auto"] == told["float32"] | {"precision": "auto"}
    assert "epochs" in told["float32"]


@pytest.mark.slow
def test_what_learned_in_bf16_is_published_in_float32(tmp_path) -> None:
    """It has learned nearly as well, and torch and ONNX Runtime agree as ever."""
    x = torch.linspace(-2, 2, 80).reshape(-1, 1)
    y = (2 * x).sin().numpy()
    layers = ["Linear(1, 32)", "Tanh()", "Linear(32, 1)"]
    errors = {}
    for name in ("float32", "bf16"):
        trained = api.fit(layers, x.numpy(), y, epochs=300, weight_decay=0.01, precision=name)
        errors[name] = float(abs(trained.predict(x.numpy()) - y).mean())
    graph = onnx.load(trained.publish(tmp_path)).graph

    assert errors["bf16"] < errors["float32"] + 0.02 < 0.2
    assert {each.data_type for each in graph.initializer} == {onnx.TensorProto.FLOAT}
