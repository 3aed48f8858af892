"""The training loop: flat, and on one screen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from isotherm.trainer.config import FitConfig
from isotherm.trainer.errors import TrainingError
from isotherm.trainer.model import Stack

OnEpoch = Callable[[int, float, float], None]

# Below this many numbers in the stacked table, a second thread costs more than it brings
# (420 us an epoch against 1205 us on 11 rows).
_SINGLE_THREAD_NUMBERS: Final = 100_000


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rows:
    """The standardised table as each copy of a stack sees it.

    The first copy learns from all rows; each other one leaves a fold out. A fold is left out by its
    weight, so that all copies have the same shape.

    Attributes:
        x: shape (copies, rows, features).
        y: shape (copies, rows, targets).
        training: shape (copies, rows); what a row counts in the copy's loss, 1 in sum.
        held_out: shape (copies, rows); the same for the rows left out; the first copy has none.
    """

    x: Tensor
    y: Tensor
    training: Tensor
    held_out: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """The mean squared error after each epoch, on standardised targets.

    Attributes:
        training: of the copy that learns from all rows, on these rows.
        validation: of the other copies, on the rows that each left out.
    """

    training: tuple[float, ...]
    validation: tuple[float, ...]


def fit(stack: Stack, rows: Rows, config: FitConfig, on_epoch: OnEpoch | None = None) -> History:
    """Train every copy of the stack on its rows; return the losses.

    `on_epoch` is called with the epoch (from 1), the training and the validation loss.
    """
    # Adam without a penalty fits the noise of a small table (leave-one-out error 4.4 against the
    # line's 2.1 on the thermometer); the penalty is part of the loss, not Adam's own decay, so
    # that its strength does not depend on the learning rate.
    optimizer = torch.optim.Adam(stack.parameters.values(), lr=config.learning_rate)
    penalty = config.weight_decay / rows.x.shape[1]
    training, validation = [], []
    for epoch in range(1, config.epochs + 1):
        squared_errors = (stack(rows.x) - rows.y).square().mean(dim=-1)
        losses = (squared_errors * rows.training).sum(dim=-1)
        # Summed, not averaged: no copy's gradient depends on how many others there are.
        objective = losses.sum() + penalty * stack.squared_weights()
        optimizer.zero_grad()
        torch.autograd.backward(objective)
        optimizer.step()
        # The two losses come from one forward pass, before this epoch's step.
        held_out = (squared_errors.detach() * rows.held_out).sum(dim=-1)
        training.append(losses[0].item())
        validation.append(held_out[1:].mean().item())
        _check_finite(epoch, training[-1] + validation[-1], config)
        if on_epoch:
            on_epoch(epoch, training[-1], validation[-1])
    return History(training=tuple(training), validation=tuple(validation))


@contextmanager
def threads(rows: Rows) -> Iterator[None]:
    """Run small arithmetic on one thread, and give the caller's setting back."""
    before = torch.get_num_threads()
    if rows.x.numel() < _SINGLE_THREAD_NUMBERS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_finite(epoch: int, loss: float, config: FitConfig) -> None:
    if not math.isfinite(loss):
        msg = (
            f"the loss became {loss} in epoch {epoch}; nothing was published. "
            f"Lower the learning rate ({config.learning_rate:g})"
        )
        raise TrainingError(msg)
