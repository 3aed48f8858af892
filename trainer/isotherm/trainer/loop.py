"""The training loop: flat, and on one screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor
from torch.optim import Optimizer

from isotherm.trainer import optimizers, precision
from isotherm.trainer import recorder as recorders
from isotherm.trainer.batches import Batches, Rows
from isotherm.trainer.checkpoint import Checkpoint
from isotherm.trainer.config import FitConfig
from isotherm.trainer.errors import TrainingError
from isotherm.trainer.model import seeded
from isotherm.trainer.objective import Objective
from isotherm.trainer.progress import OnEpoch
from isotherm.trainer.proof import Learning
from isotherm.trainer.recorder import Recorder, Tensors
from isotherm.trainer.session import Curves, DivergedError, History, Session
from isotherm.trainer.stack import Copies
from isotherm.trainer.steps import Step, Steps

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
    recorder: Recorder | None = None,
) -> Curves:
    """Train every copy on its rows; return the losses.

    `objective` is squared errors unless told, `decay` the penalty of each copy, `epochs` where to
    stop on the schedule of `config`. `on_epoch` is told about the first `told` copies. A
    `checkpoint` is continued if it exists, and saved to. The `recorder` is the device's own.
    """
    epochs, objective = epochs or config.epochs, objective or Objective()
    batches = Batches(rows, config)
    optimizer = optimizers.build(copies, config)
    total = config.epochs * len(batches)
    schedule = optimizers.schedule(optimizer, config, total)
    worth = rows.x.shape[1] if rows.worth is None else rows.worth
    penalty = optimizers.Penalty(copies, optimizer, config, rows=worth, decay=decay)
    device = rows.x.device
    recorder = recorder or recorders.of(device, config, total, recordable=copies.recordable)
    patient = recorder is not None or device.type == "cuda"
    session = Session(
        copies, rows, optimizer, schedule, batches, config.patience, told, patient=patient
    )
    forward = precision.forward(copies, config)
    gradients = partial(
        _gradients, copies, forward, objective, optimizer, penalty, config.clip_norm
    )
    step: Step = partial(_step, batches, optimizer, precision.learning(gradients, config))
    if recorder:
        step = Steps(step, [Learning(copies=copies, optimizer=optimizer)], recorder)
    # Where the training pass answers every row as it will be served, no second pass is needed.
    as_served = forward is copies and config.precision != "tf32" and not copies.stochastic
    one_pass = batches.whole and as_served and not session.best
    tested = rows.tested and not one_pass
    with recorders.working(recorder, device), seeded(config.seed), threads(rows):
        session.resume(checkpoint)
        for epoch in range(session.epoch + 1, epochs + 1):
            if session.best and session.best.exhausted(session.epoch):
                break
            copies.train(True)
            # The rows' losses in the last batch: all of them, where there is one.
            losses, each = [], rows.held_out
            for batch in batches:
                each, loss = step(*batch)
                # A recorded step writes each of its losses in the same place.
                losses.append(loss.clone() if recorder else loss)
                if schedule:
                    schedule.step()
            session.note(epoch, losses, _evaluate(copies, rows, objective) if tested else each)
            saving = checkpoint and (epoch % checkpoint.every == 0 or epoch == epochs)
            if saving or session.due:
                _read(session, config, on_epoch, checkpoint)
            if checkpoint and saving:
                session.save(checkpoint)
        _read(session, config, on_epoch, checkpoint)
    return session.curves()


def _step(batches: Batches, optimizer: Optimizer, gradients: Any, *chosen: Tensor) -> Tensors:
    """Make a step; return the loss of each row of the batch, and of each copy."""
    looks: Looks = []
    # The gradients are a closure because LBFGS looks more than once a step.
    optimizer.step(partial(gradients, looks, *batches.take(*chosen)))
    return looks[0]


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


def _read(
    session: Session, config: FitConfig, on_epoch: OnEpoch | None, checkpoint: Checkpoint | None
) -> None:
    """Read and tell the losses that were noted; raise TrainingError where there is none."""
    try:
        for told in session.read():
            if on_epoch:
                on_epoch(*told)
    except DivergedError as error:
        kept = f"; the last good checkpoint is '{checkpoint.path}'" if checkpoint else ""
        msg = (
            f"the loss became {error.value} in epoch {error.epoch}, step {error.step} of "
            f"{error.steps}; nothing was published{kept}. Lower the learning rate "
            f"({config.learning_rate:g})"
        )
        raise TrainingError(msg) from error
