"""Optimizers: how gradients become steps, with their schedule, penalty and clipping."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, optim
from torch.optim.lr_scheduler import LambdaLR

from isotherm.trainer.config import FitConfig
from isotherm.trainer.stack import Copies

# One-cycle: the share of the steps that rise, and where it starts and ends.
_RISE: Final = 0.3
_START: Final = 1 / 25
_END: Final = 1e-4
# Step: a tenth after each third.
_STEPS: Final = 3
_STEP_FACTOR: Final = 0.1

# LBFGS's own iterations in what the loop calls a step.
_ITERATIONS: Final = 20


def build(copies: Copies, config: FitConfig) -> optim.Optimizer:
    """Make the optimizer; the penalty is not its business but `Penalty`'s."""
    parameters = list(copies.parameters.values())
    match config.optimizer:
        case "adam" | "adamw":
            return optim.Adam(parameters, lr=config.learning_rate, fused=True)
        case "sgd":
            return optim.SGD(
                parameters, lr=config.learning_rate, momentum=config.momentum, fused=True
            )
        case "lbfgs":
            # The line search finds the length of each step.
            return optim.LBFGS(
                parameters, lr=1.0, max_iter=_ITERATIONS, line_search_fn="strong_wolfe"
            )


def schedule(optimizer: optim.Optimizer, config: FitConfig, steps: int) -> LambdaLR | None:
    """Return what changes the learning rate over `steps` steps, None for a constant one."""
    if config.schedule == "constant":
        return None
    factor = {"cosine": _cosine, "one-cycle": _one_cycle, "step": _step}[config.schedule]
    return LambdaLR(optimizer, lambda step: factor(min(step / steps, 1.0)))


class Rate:
    """The learning rate as a number on the device, where a recorded step sees it change.

    The optimizer's own stays a number of the host's, which schedules and checkpoints know.
    """

    def __init__(self, optimizer: optim.Optimizer) -> None:
        self._optimizer = optimizer
        parameter: Tensor = optimizer.param_groups[0]["params"][0]
        # On CUDA fused optimizers read 32 bits. On the CPU, with 64, no digit is lost.
        bits = torch.float32 if parameter.device.type == "cuda" else torch.float64
        self._rate = torch.zeros((), dtype=bits, device=parameter.device)
        self._held = math.nan

    def update(self, share: float = 1.0) -> None:
        """Bring the optimizer's rate to the device, or a share of it."""
        wanted = self._optimizer.param_groups[0]["lr"] * share
        if wanted != self._held:
            self._rate.fill_(wanted)
            self._held = wanted

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the optimizer the number on the device, in place of its own."""
        # Not kept: continuing from a checkpoint replaces it.
        (group,) = self._optimizer.param_groups
        own: dict[str, Any] = {name: group[name] for name in ("lr", "capturable") if name in group}
        group["lr"] = self._rate
        if "capturable" in group:
            group["capturable"] = True
        try:
            yield
        finally:
            group.update(own)


class Penalty:
    """The penalty on squared weights, each copy with its own strength.

    It is part of the loss, not Adam's own decay, so that its strength does not depend on the
    learning rate; except for adamw, whose point is the other choice.

    Adam without a penalty fits the noise of a small table: leave-one-out error 4.4 against the
    line's 2.1 on the thermometer.
    """

    def __init__(
        self,
        copies: Copies,
        optimizer: optim.Optimizer,
        config: FitConfig,
        *,
        rows: int | Tensor,
        decay: Sequence[float] = (),
    ) -> None:
        """Take the `decay` of each copy as the configuration has it: the strength times `rows`.

        `rows` may be a tensor (copies,): those that each copy learns from.
        """
        self._optimizer = optimizer
        self._decoupled = config.optimizer == "adamw"
        self._in_loss = isinstance(optimizer, optim.LBFGS)
        values = torch.tensor(decay or [config.weight_decay[0]] * copies.size)
        strength = (
            values if self._decoupled else values / (rows if isinstance(rows, int) else rows.cpu())
        )
        self._weights = []
        for name in copies.penalised if any(values) else ():
            weight = copies.parameters[name]
            marked = copies.mark(strength.to(weight.device), weight.detach())
            self._weights.append((weight, marked.contiguous()))

    def add_to(self, loss: Tensor) -> Tensor:
        """Return the loss with the penalty in it, for the optimizer that compares losses."""
        if self._in_loss:
            for weight, strength in self._weights:
                loss = loss + (strength * weight.square()).sum()
        return loss

    @torch.no_grad()
    def add_gradients(self) -> None:
        """Add the penalty's gradient, or shrink the weights of adamw."""
        if self._in_loss:
            return
        for weight, strength in self._weights:
            if self._decoupled:
                weight.mul_(1 - self._optimizer.param_groups[0]["lr"] * strength)
            elif weight.grad is not None:
                weight.grad.addcmul_(weight, strength, value=2)


@torch.no_grad()
def clip(copies: Copies, norm: float) -> None:
    """Shorten the gradient of each copy to `norm`; no copy's length depends on the others."""
    gradients = [value.grad for value in copies.parameters.values() if value.grad is not None]
    squares = torch.zeros(copies.size, device=gradients[0].device)
    for gradient in gradients:
        each = gradient if copies.size > 1 else gradient.unsqueeze(0)
        squares += each.square().flatten(1).sum(dim=1) if each.ndim > 1 else each.square()
    factors = (norm / squares.sqrt().clamp(min=1e-12)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(copies.mark(factors, gradient))


def _cosine(share: float) -> float:
    return (1 + math.cos(math.pi * share)) / 2


def _one_cycle(share: float) -> float:
    if share < _RISE:
        return _START + (1 - _START) * (1 - _cosine(share / _RISE))
    return _END + (1 - _END) * _cosine((share - _RISE) / (1 - _RISE))


def _step(share: float) -> float:
    factor: float = _STEP_FACTOR ** int(min(share, 0.999) * _STEPS)
    return factor
