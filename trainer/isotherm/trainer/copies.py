"""Copies: models of one architecture that are trained side by side as if they were one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn, optim
from torch.func import functional_call, stack_module_state, vmap

MakeOptimizer = Callable[[Iterable[Tensor]], optim.Optimizer]
Forward = Callable[[dict[str, Tensor], Tensor], Tensor]
OnEpoch = Callable[[int, Tensor, dict[str, Tensor]], None]

# Layers that treat each number for itself, so that an axis of copies in front changes nothing.
_ELEMENTWISE: Final = (nn.ReLU, nn.Sigmoid, nn.Tanh)


def train(
    models: Sequence[nn.Module],
    x: Tensor,
    y: Tensor,
    *,
    optimizer: MakeOptimizer,
    epochs: int,
    counts: Tensor | None = None,
    on_epoch: OnEpoch | None = None,
) -> None:
    """Train every model in place on the mean squared error of its own rows.

    Each model ends where it would have ended alone, within rounding: the losses are added up, and
    no parameter is shared. That holds for optimizers that treat each number for itself (SGD, Adam,
    AdamW), also when some copies diverge.

    Args:
        models: with the same layers; the initial weights may differ.
        x: shape (copies, rows, features); an axis of copies of length 1 serves all of them.
        y: shape (copies, rows, targets), likewise.
        optimizer: makes one from the stacked parameters.
        epochs: steps, each on all rows.
        counts: shape (copies, rows); 1 for a row that a copy learns from, 0 for one that it does
            not. None: every copy learns from every row.
        on_epoch: called before each step with the epoch from 1, the squared errors of shape
            (copies, rows), and the parameters by name, each with an axis of copies in front.
    """
    copies = len(models)
    x = x.expand(copies, -1, -1)
    y = y.expand(copies, -1, -1)
    shares = _shares(x, counts)
    parameters = {
        name: value.detach().clone().requires_grad_()
        for name, value in stack_module_state(list(models))[0].items()
    }
    forward = _forward(models[0])
    steps = optimizer(parameters.values())
    with one_thread():
        for epoch in range(1, epochs + 1):
            errors = (forward(parameters, x) - y).square().mean(dim=-1)
            if on_epoch:
                on_epoch(epoch, errors.detach(), parameters)
            steps.zero_grad()
            torch.autograd.backward((errors * shares).sum())
            steps.step()
    load(models, parameters)


def load(models: Sequence[nn.Module], parameters: dict[str, Tensor]) -> None:
    """Put stacked parameters back into the models."""
    for index, model in enumerate(models):
        model.load_state_dict({name: value[index] for name, value in parameters.items()})


def answers(models: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Return the models' answers, shape (copies, rows, targets).

    Args:
        models: in any state.
        x: shape (rows, features), or (copies, rows, features) for rows of each model's own.
    """
    parts = x if x.ndim > 2 else [x] * len(models)  # noqa: PLR2004  an axis of copies in front
    with torch.inference_mode():
        return torch.stack([model(part) for model, part in zip(models, parts, strict=True)])


@contextmanager
def one_thread() -> Iterator[None]:
    """Run small arithmetic on one thread: a second one costs more than it brings."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _shares(x: Tensor, counts: Tensor | None) -> Tensor:
    """Return what each row counts in its copy's loss: 1 in sum."""
    if counts is None:
        counts = torch.ones(x.shape[:2])
    return counts / counts.sum(dim=1, keepdim=True)


def _forward(model: nn.Module) -> Forward:
    """Return what maps stacked parameters and inputs (copies, rows, features) to answers."""
    layers = list(model.named_children()) or [("", model)]
    if isinstance(model, nn.Sequential | nn.Linear) and all(map(_is_plain, layers)):
        return lambda parameters, x: _through(layers, parameters, x)

    def one(parameters: dict[str, Tensor], x: Tensor) -> Any:
        return functional_call(model, parameters, (x,))

    return vmap(one)


def _is_plain(named: tuple[str, nn.Module]) -> bool:
    _, layer = named
    return isinstance(layer, _ELEMENTWISE) or (
        isinstance(layer, nn.Linear) and layer.bias is not None
    )


def _through(
    layers: Sequence[tuple[str, nn.Module]], parameters: dict[str, Tensor], x: Tensor
) -> Tensor:
    # Twice as fast as vmap, whose own cost is what an epoch on eleven rows is made of.
    for name, layer in layers:
        if isinstance(layer, nn.Linear):
            prefix = f"{name}." if name else ""
            weight, bias = parameters[f"{prefix}weight"], parameters[f"{prefix}bias"]
            x = torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))
        else:
            x = layer(x)
    return x
