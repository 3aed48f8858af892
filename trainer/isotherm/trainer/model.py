"""The model: layers, or a user's own module, as an `nn.Sequential` whose widths fit the table."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, Final

import torch
from torch import Tensor, nn

from isotherm.trainer import layers as notation
from isotherm.trainer.data import Floats
from isotherm.trainer.errors import LayerError

HIDDEN_WIDTH: Final = 13

# Parts of a `LinearSkip`; the straight part is not penalised.
_STRAIGHT: Final = "straight"

_SAME_WIDTH: Final = (
    *notation.ACTIVATIONS.values(),
    nn.AlphaDropout,
    nn.BatchNorm1d,
    nn.Dropout,
    nn.Identity,
    nn.LayerNorm,
)
# The graph turns outputs into probabilities itself.
_HEADS: Final = (nn.Softmax, nn.LogSoftmax, nn.Softmin, nn.Sigmoid, nn.LogSigmoid)


class LinearSkip(nn.Module):
    """A network plus a line: what the penalty shrinks is what departs from the line."""

    def __init__(self, network: nn.Module, features: int, outputs: int) -> None:
        super().__init__()
        self.network = network
        self.straight = nn.Linear(features, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` of shape (batch, features) to (batch, outputs)."""
        answer: Tensor = self.network(x) + self.straight(x)
        return answer


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
    model = of_layers(layers or seed_layers(features=features, targets=targets), seed)
    check_widths(model, features=features, targets=targets)
    return model


def of_layers(layers: Sequence[str], seed: int) -> nn.Sequential:
    """Return the layers with the initial weights of `seed`; their widths are not checked."""
    with seeded(seed):
        return nn.Sequential(*(notation.parse(text) for text in layers))


def made_by(path: str, *, features: int, targets: int, seed: int) -> nn.Sequential:
    """Return what the factory `package.module:function` makes, with the weights of `seed`."""
    with seeded(seed):
        return notation.from_factory(path, features=features, outputs=targets)


def with_skip(model: nn.Sequential, features: int, outputs: int) -> nn.Sequential:
    """Return the model with a line beside it."""
    return nn.Sequential(OrderedDict(skip=LinearSkip(model, features, outputs)))


def own(
    model: nn.Module,
    *,
    features: int,
    widths: Sequence[int],
    noun: str = "target",
    seen: str = "",
) -> nn.Sequential:
    """Return a copy of a user's module in float32, checked; the user's own is left alone.

    Args:
        model: takes (batch, features).
        features: the width of the table.
        widths: that its output may have; the first is the usual one.
        noun: what the table has of the output's columns.
        seen: what rows are made of; empty: of the table's features.
    """
    copy = notation.sequential(deepcopy(model)).float().cpu()
    targets = _last_width(copy, widths)
    check_widths(copy, features=features, targets=targets, noun=noun, seen=seen)
    copy.eval()
    try:
        with torch.inference_mode():
            answer = copy(torch.zeros(2, features))
    # The module is the user's, and so is what it raises.
    except Exception as error:
        what = f"; {seen}" if seen else ""
        msg = f"the model cannot take rows of {_plural(features, 'number')}: {error}{what}"
        raise LayerError(msg) from error
    found = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
    if found not in {(2, width) for width in widths}:
        msg = f"the model gives {found} for two rows, expected (2, {widths[0]})"
        raise LayerError(msg)
    return copy


def check_logits(model: nn.Sequential) -> None:
    """Raise LayerError where a classifier ends in what the graph adds by itself."""
    last = [layer for _, layer in named_layers(model)][-1:]
    if last and isinstance(last[0], _HEADS):
        msg = (
            f"the network ends in {type(last[0]).__name__}(), which the exported graph adds to a "
            "classifier by itself; leave it out"
        )
        raise LayerError(msg)


@torch.no_grad()
def affine(weight: Floats, bias: Floats) -> nn.Sequential:
    """Return `Sequential(Linear)` with weight (targets, features) and bias (targets,)."""
    targets, features = weight.shape
    linear = nn.Linear(features, targets)
    linear.weight.copy_(torch.from_numpy(weight))
    linear.bias.copy_(torch.from_numpy(bias))
    return nn.Sequential(linear)


def seed_layers(*, features: int, targets: int) -> tuple[str, ...]:
    """Return the seed's layers, one hidden layer of 13 tanh units, for a table's widths."""
    return (
        f"Linear({features}, {HIDDEN_WIDTH})",
        "Tanh()",
        f"Linear({HIDDEN_WIDTH}, {targets})",
    )


def parameter_count(model: nn.Module) -> int:
    """Return how many numbers the model has learned."""
    return sum(parameter.numel() for parameter in model.parameters())


def penalised(model: nn.Module) -> tuple[str, ...]:
    """Name the weights that the penalty is on: matrices, but for a skip's straight part."""
    return tuple(
        name
        for name, value in model.named_parameters()
        if value.ndim > 1 and name.split(".")[-2:] != [_STRAIGHT, "weight"]
    )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let torch draw from `seed` inside the block; the caller's random state is left alone."""
    # A device that nobody has used yet is not started for that: it takes seconds and memory.
    cuda: Any = torch.cuda
    with torch.random.fork_rng([cuda.current_device()] if cuda.is_initialized() else []):
        torch.manual_seed(seed)
        yield


def named_layers(model: nn.Sequential, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers as they are called, nested sequences unfolded, with their full names."""
    # `named_children` would pass over a layer that stands in a model twice.
    for name, layer in model.named_modules(remove_duplicate=False):
        if not name or "." in name:
            continue
        if isinstance(layer, nn.Sequential):
            yield from named_layers(layer, f"{prefix}{name}.")
        else:
            yield prefix + name, layer


def check_widths(
    model: nn.Sequential, *, features: int, targets: int, noun: str = "target", seen: str = ""
) -> None:
    """Raise LayerError unless each layer takes what the one before it gives."""
    # None: after a module of the user's own, which may give any width.
    width: int | None = features
    giver = seen or f"the table has {_plural(features, 'feature')}"
    for name, layer in named_layers(model):
        takes = _takes(layer)
        text = f"layer {name}, {_short(layer)},"
        if takes is not None and width not in {None, takes}:
            msg = f"{text} takes {_plural(takes, 'number')}, but {giver}; make them equal"
            raise LayerError(msg)
        if isinstance(layer, nn.Linear):
            width, giver = layer.out_features, f"{text} gives {layer.out_features}"
        elif not isinstance(layer, _SAME_WIDTH):
            width = None
    if width not in {None, targets}:
        msg = f"{giver}, but the table has {_plural(targets, noun)}; make them equal"
        raise LayerError(msg)


def _takes(layer: nn.Module) -> int | None:
    if isinstance(layer, nn.Linear):
        return layer.in_features
    if isinstance(layer, nn.BatchNorm1d):
        return layer.num_features
    if isinstance(layer, nn.LayerNorm):
        return layer.normalized_shape[-1]
    return None


def _short(layer: nn.Module) -> str:
    if isinstance(layer, nn.Linear):
        return f"Linear({layer.in_features}, {layer.out_features})"
    return f"{type(layer).__name__}({_takes(layer)})"


def _last_width(model: nn.Sequential, widths: Sequence[int]) -> int:
    """Return which of the allowed widths the model means to have."""
    linear = [layer for _, layer in named_layers(model) if isinstance(layer, nn.Linear)]
    found = linear[-1].out_features if linear else widths[0]
    return found if found in widths else widths[0]


def _plural(count: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"
