"""The session: all that a training must have again to go on as if it had never stopped."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, optim
from torch.optim.lr_scheduler import LambdaLR

from isotherm.trainer.batches import Batches, Rows
from isotherm.trainer.checkpoint import Checkpoint
from isotherm.trainer.stack import Copies


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """The loss after each epoch, on standardised targets.

    Attributes:
        training: of the copy that learns from all rows, on these rows.
        validation: of the other copies, on the rows that each left out; empty without any.
    """

    training: tuple[float, ...]
    validation: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Curves:
    """The losses of each copy in each epoch, and the epoch whose weights each copy has."""

    training: list[list[float]]
    held_out: list[list[float]]
    best_epochs: list[int]

    def history(self, first: int = 0, last: int | None = None) -> History:
        """Tell of copy `first`, which learns from all rows, and of the folds up to `last`."""
        folds = [losses[first + 1 : last] for losses in self.held_out]
        return History(
            training=tuple(losses[first] for losses in self.training),
            validation=tuple(_mean(losses) for losses in folds if losses),
        )


class Best:
    """The weights of each copy in the epoch of its lowest validation loss."""

    def __init__(self, copies: Copies, patience: int) -> None:
        self._copies = copies
        self._patience = patience
        device = next(iter(copies.parameters.values())).device
        self._losses = torch.full((copies.size,), torch.inf, device=device)
        self.epochs = torch.zeros(copies.size, dtype=torch.int64, device=device)
        self._weights = {name: value.detach().clone() for name, value in copies.state().items()}

    @torch.no_grad()
    def update(self, epoch: int, losses: Tensor) -> None:
        """Keep the weights of each copy whose loss, of shape (copies,), is its lowest so far."""
        better = losses < self._losses
        self._losses = torch.where(better, losses, self._losses)
        self.epochs = torch.where(better, epoch, self.epochs)
        for name, value in self._copies.state().items():
            kept = self._weights[name]
            self._weights[name] = torch.where(self._copies.mark(better, kept), value, kept)

    def exhausted(self, epoch: int) -> bool:
        """Whether no copy has had a better epoch within the patience."""
        return bool((epoch - self.epochs).min() >= self._patience)

    def restore(self) -> None:
        """Give each copy its best weights."""
        load(self._copies, self._weights)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes."""
        return {"losses": self._losses, "epochs": self.epochs, "weights": self._weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self._losses, self.epochs = state["losses"], state["epochs"]
        self._weights = state["weights"]


class Session:
    """The parts of a training that change, saved and restored together."""

    def __init__(
        self,
        copies: Copies,
        rows: Rows,
        optimizer: optim.Optimizer,
        schedule: LambdaLR | None,
        batches: Batches,
        patience: int,
        told: int | None = None,
    ) -> None:
        self._copies = copies
        self._rows = rows
        self._folds = rows.folds(told)
        self._told = told
        self._batches = batches
        stops = patience and rows.validation is not None
        self.best = Best(copies, patience) if stops else None
        self._parts = {"optimizer": optimizer, "schedule": schedule, "best": self.best}
        self.epoch = 0
        # A list of the copies' losses for each epoch.
        self._training: list[list[float]] = []
        self._held_out: list[list[float]] = []

    def record(self, epoch: int, training: list[float], each: Tensor) -> float:
        """Note the losses of an epoch; return the one to tell: of rows that were not learned from.

        Args:
            epoch: that has ended.
            training: the loss of each copy.
            each: the loss of each row, shape (copies, rows).
        """
        self.epoch = epoch
        self._training.append(training)
        validation = math.nan
        if self._folds:
            held_out: list[float] = (each * self._rows.held_out).sum(dim=-1).tolist()
            self._held_out.append(held_out)
            validation = sum(held_out[: self._told]) / self._folds
        if self.best and self._rows.validation is not None:
            losses = (each * self._rows.validation).sum(dim=-1)
            self.best.update(epoch, losses)
            validation = validation if self._folds else losses[0].item()
        return validation

    def curves(self) -> Curves:
        """Put the best weights back, and return the losses of all epochs."""
        if self.best:
            self.best.restore()
        self._copies.train(False)
        epochs = self.best.epochs.tolist() if self.best else [self.epoch] * self._copies.size
        return Curves(training=self._training, held_out=self._held_out, best_epochs=epochs)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write the state after `epoch`, unless its weights have left the numbers."""
        tensors = self._copies.state()
        if not all(bool(value.isfinite().all()) for value in tensors.values()):
            return
        device = self._batches.generator.device
        rng = {"torch": torch.get_rng_state(), "shuffle": self._batches.generator.get_state()}
        if device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(device)
        state: dict[str, Any] = {
            "epoch": self.epoch,
            "step": self.epoch * len(self._batches),
            "training": self._training,
            "held_out": self._held_out,
            "rng": rng,
            "copies": {name: value.detach() for name, value in tensors.items()},
        }
        parts = {name: part.state_dict() for name, part in self._parts.items() if part is not None}
        checkpoint.save(state | parts)

    def resume(self, checkpoint: Checkpoint | None) -> None:
        """Continue from the checkpoint, if there is one."""
        device = self._batches.generator.device
        state = checkpoint.load(device) if checkpoint else None
        if state is None:
            return
        load(self._copies, state["copies"])
        for name, part in self._parts.items():
            if part is not None:
                part.load_state_dict(state[name])
        torch.set_rng_state(state["rng"]["torch"])
        self._batches.generator.set_state(state["rng"]["shuffle"])
        if device.type == "cuda":
            torch.cuda.set_rng_state(state["rng"]["cuda"], device)
        self.epoch = state["epoch"]
        self._training, self._held_out = state["training"], state["held_out"]


@torch.no_grad()
def load(copies: Copies, tensors: dict[str, Tensor]) -> None:
    """Put saved tensors into the copies."""
    for name, value in copies.state().items():
        value.copy_(tensors[name])


def _mean(losses: list[float]) -> float:
    return sum(losses) / len(losses)
