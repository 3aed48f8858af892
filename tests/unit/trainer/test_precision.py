"""Tests of layers that learn in bfloat16."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn

from isotherm.trainer import api, data, loop, parity, precision, settings
from isotherm.trainer.batches import Rows
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
    # Replayed steps come to the same numbers.
    assert "cuda_graphs" not in told["auto"]


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


@pytest.fixture
def _loose() -> Iterator[None]:
    """The caller has told torch to be quick."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


def _bits() -> tuple[str, str]:
    backends: Any = torch.backends
    return backends.cuda.matmul.fp32_precision, backends.mkldnn.matmul.fp32_precision


class _Seen(nn.Module):
    """Notes with how many bits torch multiplies while it is called, forwards and backwards."""

    def __init__(self, seen: dict[bool | None, set[tuple[str, str]]]) -> None:
        super().__init__()
        self.seen = seen

    def __deepcopy__(self, memo: object) -> _Seen:
        return _Seen(self.seen)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x`."""
        if x.requires_grad or not self.training:
            self.seen.setdefault(self.training, set()).add(_bits())
        if x.requires_grad:
            x.register_hook(lambda _: self.backwards())
        return x

    def backwards(self) -> None:
        """Note it on the way back."""
        self.seen.setdefault(True, set()).add(_bits())
        self.seen.setdefault(None, set()).add(_bits())


@pytest.mark.usefixtures("_loose")
@pytest.mark.parametrize(
    ("choice", "learning"), [("float32", ("ieee", "ieee")), ("tf32", ("tf32", "ieee"))]
)
def test_all_that_is_measured_has_all_bits_and_learning_has_unless_told(
    choice: str, learning: tuple[str, str]
) -> None:
    """Whatever the caller's own settings are, which are as they were afterwards."""
    seen: dict[bool | None, set[tuple[str, str]]] = {}
    before = _bits()
    x = torch.linspace(-1, 1, 30).reshape(-1, 1).numpy()
    # Batch statistics are learned by one model at a time, whose layers are called themselves.
    model = nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), _Seen(seen), nn.Linear(4, 1))

    api.fit(model, x, x[:, 0], epochs=2, precision=choice)

    assert before != ("ieee", "ieee")
    assert _bits() == before
    assert seen[True] == seen[None] == {learning}
    assert seen[False] == {("ieee", "ieee")}


@pytest.mark.usefixtures("_loose")
def test_golden_rows_and_parity_have_all_bits(tmp_path: Path) -> None:
    """They are computed on the CPU, wherever the model has learned."""
    seen: set[tuple[str, str]] = set()
    x = torch.linspace(-1, 1, 30).reshape(-1, 1).numpy()
    model = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))
    trained = api.fit(model, x, x[:, 0], epochs=2)
    places = {value.device.type for value in trained.fitted.served.state_dict().values()}
    answers = type(trained.fitted.served).forward

    def noting(self: Any, x: torch.Tensor) -> Any:
        # The exporter's own call computes nothing.
        if not torch.compiler.is_exporting():
            seen.add(_bits())
        return answers(self, x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(trained.fitted.served), "forward", noting)
        path = trained.publish(tmp_path)
        published = seen.copy()
        seen.clear()
        # So has a model that was trained elsewhere.
        parity.check(path.read_bytes(), trained.fitted.served, [x], absolute=1e-3, relative=1e-3)

    assert places == {"cpu"}
    assert published == seen == {("ieee", "ieee")}


def test_without_tf32_a_step_is_left_as_it_is() -> None:
    """Not even wrapped."""

    def work() -> torch.Tensor:
        return torch.ones(1)

    assert precision.learning(work, FitConfig()) is work


@pytest.mark.parametrize(("choice", "passes"), [("float32", 0), ("tf32", 3)])
def test_losses_to_tell_are_not_those_of_fewer_bits(
    choice: Any, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training pass over the whole table has them already, but not as they are to be served."""
    seen = []
    evaluate = loop._evaluate

    def counted(*arguments: Any) -> torch.Tensor:
        seen.append(arguments)
        return evaluate(*arguments)

    monkeypatch.setattr(loop, "_evaluate", counted)
    x = torch.linspace(-1, 1, 8).reshape(1, 8, 1).expand(2, 8, 1)
    held_out = torch.zeros(2, 8)
    held_out[1, 0] = 1.0
    learned = (1 - held_out) / (1 - held_out).sum(dim=1, keepdim=True)
    rows = Rows(x=x, y=x.square(), training=learned, held_out=held_out)
    torch.manual_seed(0)
    stack = Stack(nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)), 2)
    loop.fit(stack, rows, FitConfig(epochs=3, precision=choice))

    assert len(seen) == passes
