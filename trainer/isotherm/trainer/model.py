"""The model: layers in torch's notation become an `nn.Sequential` whose widths fit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from isotherm.trainer.data import Floats
from isotherm.trainer.errors import LayerError

HIDDEN_WIDTH: Final = 13

_ACTIVATIONS: Final[Mapping[str, type[nn.Module]]] = MappingProxyType(
    {
        activation.__name__: activation
        for activation in (nn.ELU, nn.GELU, nn.ReLU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Tanh)
    }
)
_LAYER: Final = re.compile(
    r"\s*(?P<kind>\w+)\s*\(\s*(?:(?P<inputs>\d+)\s*,\s*(?P<outputs>\d+))?\s*\)\s*"
)


def network(layers: Sequence[str], *, features: int, targets: int, seed: int) -> nn.Sequential:
    """Build the network with the initial weights of `seed`.

    Args:
        layers: such as `["Linear(1, 13)", "Tanh()", "Linear(13, 1)"]`; empty means `seed_layers`.
        features: the width of its input.
        targets: the width of its output.
        seed: of the initial weights; the caller's random state is left alone.

    Raises:
        LayerError: a layer is unknown, or neighbouring layers differ in width.
    """
    layers = layers or seed_layers(features=features, targets=targets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(*(_layer(text) for text in layers))
    check_widths(model, features=features, targets=targets)
    return model


def seed_layers(*, features: int, targets: int) -> tuple[str, ...]:
    """Return the seed's layers, one hidden layer of 13 tanh units, for a table's widths."""
    return (
        f"Linear({features}, {HIDDEN_WIDTH})",
        "Tanh()",
        f"Linear({HIDDEN_WIDTH}, {targets})",
    )


def affine(weight: Floats, bias: Floats) -> nn.Sequential:
    """Return `Sequential(Linear)` with weight (targets, features) and bias (targets,)."""
    targets, features = weight.shape
    linear = nn.Linear(features, targets)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weight))
        linear.bias.copy_(torch.from_numpy(bias))
    return nn.Sequential(linear)


def parameter_count(model: nn.Module) -> int:
    """Return how many numbers the model has learned."""
    return sum(parameter.numel() for parameter in model.parameters())


def check_widths(model: nn.Sequential, *, features: int, targets: int) -> None:
    """Raise LayerError unless each layer takes what the one before it gives."""
    width, giver = features, f"the table has {_plural(features, 'feature')}"
    for name, layer in model.named_children():
        if not isinstance(layer, nn.Linear):
            continue
        text = f"layer {name}, Linear({layer.in_features}, {layer.out_features}),"
        if layer.in_features != width:
            msg = (
                f"{text} takes {_plural(layer.in_features, 'number')}, but {giver}; make them equal"
            )
            raise LayerError(msg)
        width, giver = layer.out_features, f"{text} gives {layer.out_features}"
    if width != targets:
        msg = f"{giver}, but the table has {_plural(targets, 'target')}; make them equal"
        raise LayerError(msg)


class Stack:
    """Copies of one model with the same initial weights, trained side by side as one.

    A stack of twelve costs about as much time as one model, because small layers are all overhead.
    """

    def __init__(self, model: nn.Sequential, size: int) -> None:
        self._model = model
        stacked, _ = stack_module_state([model] * size)
        self.parameters: dict[str, Tensor] = {
            name: value.detach().clone().requires_grad_() for name, value in stacked.items()
        }
        self._forward = vmap(lambda weights, x: functional_call(model, weights, (x,)))

    def __call__(self, x: Tensor) -> Tensor:
        """Map `x` of shape (size, rows, features) to (size, rows, targets), each with its copy."""
        outputs: Tensor = self._forward(self.parameters, x)
        return outputs

    def squared_weights(self) -> Tensor:
        """Return the sum of squared weights, biases left out, over all copies."""
        weights = (value for name, value in self.parameters.items() if name.endswith("weight"))
        return torch.stack([weight.square().sum() for weight in weights]).sum()

    def member(self, index: int) -> nn.Sequential:
        """Return one copy as the model it was made from, with its trained weights."""
        state = {name: value[index].detach() for name, value in self.parameters.items()}
        self._model.load_state_dict(state)
        return self._model


def _layer(text: str) -> nn.Module:
    match = _LAYER.fullmatch(text)
    if match:
        kind, inputs, outputs = match["kind"], int(match["inputs"] or 0), int(match["outputs"] or 0)
        if kind == "Linear" and inputs and outputs:
            return nn.Linear(inputs, outputs)
        if kind in _ACTIVATIONS and match["inputs"] is None:
            return _ACTIVATIONS[kind]()
    known = ", ".join(f"{name}()" for name in _ACTIVATIONS)
    msg = f"'{text}' is no layer; expected Linear(inputs, outputs), or one of {known}"
    raise LayerError(msg)


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
