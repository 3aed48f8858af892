"""The training loop: flat, and on one screen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor
from torch.optim import Optimizer

from isotherm.trainer import optimizers, precision
from isotherm.trainer.batches import Batches, Rows
from isotherm.trainer.checkpoint import Checkpoint
from isotherm.trainer.config import FitConfig
from isotherm.trainer.errors import TrainingError
from isotherm.trainer.model import seeded
from isotherm.trainer.objective import Objective
from isotherm.trainer.progress import OnEpoch
from isotherm.trainer.session import Curves, History, Session
from isotherm.trainer.stack import Copies

__all__ = ["Curves", "History", "OnEpoch", "fit", "threads"]

# A step's losses, as (copies, batch) and as (copies,), each time that the optimizer looks.
Looks = list[tuple[Tensor, Tensor]]

# Below this many numbers in the stacked table, a second thread costs more than it brings
# (420 us an epoch against 1205 us on 11 rows).
_SINGLE_THREAD_NUMBERS: Final = 100_000


def fit(
    copies: Copies,
    rows: Rows,
    config: FitConfig,
    *,
    objective: Objective | None = None,
    decay: Sequence[float] = (),
    epochs: int | None = None,
    told: int | None = None,
    on_epoch: OnEpoch | None = None,
    checkpoint: Checkpoint | None = None,
) -> Curves:
    """Train every copy on its rows; return the losses.

    `objective` is squared errors unless told, `decay` the penalty of each copy, `epochs` where to
    stop on the schedule of `config`. `on_epoch` is told about the first `told` copies. A
    `checkpoint` is continued if it exists, and saved to.
    """
    epochs, objective = epochs or config.epochs, objective or Objective()
    batches = Batches(rows, config)
    optimizer = optimizers.build(copies, config)
    schedule = optimizers.schedule(optimizer, config, config.epochs * len(batches))
    worth = rows.x.shape[1] if rows.worth is None else rows.worth
    penalty = optimizers.Penalty(copies, optimizer, config, rows=worth, decay=decay)
    session = Session(copies, rows, optimizer, schedule, batches, config.patience, told)
    forward = precision.forward(copies, config)
    step: Any = partial(
        _gradients, copies, forward, objective, optimizer, penalty, config.clip_norm
    )
    # Where the training pass answers every row as it will be served, no second pass is needed.
    as_served = forward is copies and not copies.stochastic
    one_pass = batches.whole and as_served and not session.best
    tested = rows.tested and not one_pass
    with seeded(config.seed), threads(rows):
        session.resume(checkpoint)
        for epoch in range(session.epoch + 1, epochs + 1):
            if session.best and session.best.exhausted(session.epoch):
                break
            copies.train(True)
            looks: Looks = []
            losses = []
            for batch in batches:
                looks = []
                # The gradients are a closure because LBFGS looks more than once a step.
                optimizer.step(partial(step, looks, *batch))
                if schedule:
                    schedule.step()
                losses.append(looks[0][1])
            training = _finite(losses, epoch, config, checkpoint)
            each = _evaluate(copies, rows, objective) if tested else looks[0][0]
            validation = session.record(epoch, training, each)
            if on_epoch:
                on_epoch(epoch, training[0], validation)
            if checkpoint and (epoch % checkpoint.every == 0 or epoch == epochs):
                session.save(checkpoint)
    return session.curves()


def _gradients(
    copies: Copies,
    forward: precision.Forward,
    objective: Objective,
    optimizer: Optimizer,
    penalty: optimizers.Penalty,
    clip_norm: float,
    looks: Looks,
    x: Tensor,
    y: Tensor,
    weights: Tensor,
) -> Tensor:
    optimizer.zero_grad()
    each = objective.losses(forward(x), y)
    losses = (each * weights).sum(dim=-1)
    looks.append((each.detach(), losses.detach()))
    # Summed, not averaged: no copy's gradient depends on how many others there are.
    total = penalty.add_to(losses.sum())
    torch.autograd.backward(total)
    penalty.add_gradients()
    if clip_norm:
        optimizers.clip(copies, clip_norm)
    return total


@torch.no_grad()
def _evaluate(copies: Copies, rows: Rows, objective: Objective) -> Tensor:
    """Return the loss of each row as it would be served, shape (copies, rows)."""
    copies.train(False)
    parts = [objective.losses(copies(rows.x[:, i]), rows.y[:, i]) for i in rows.slices()]
    return torch.cat(parts, dim=1)


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


def _finite(
    steps: list[Tensor], epoch: int, config: FitConfig, checkpoint: Checkpoint | None
) -> list[float]:
    """Return the epoch's mean loss of each copy; raise TrainingError where there is none."""
    losses: list[float] = (torch.stack(steps).mean(dim=0) if steps[1:] else steps[0]).tolist()
    if math.isfinite(sum(losses)):
        return losses
    wrong = next(step for step in steps if not step.isfinite().all())
    step = next(i for i, losses in enumerate(steps, start=1) if losses is wrong)
    kept = f"; the last good checkpoint is '{checkpoint.path}'" if checkpoint else ""
    value = wrong[~wrong.isfinite()][0].item()
    msg = (
        f"the loss became {value} in epoch {epoch}, step {step} of {len(steps)}; nothing was "
        f"published{kept}. Lower the learning rate ({config.learning_rate:g})"
    )
    raise TrainingError(msg)
