"""The session: all that a training must have again to go on as if it had never stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

import torch
from torch import Tensor, optim
from torch.optim.lr_scheduler import LambdaLR

from isotherm.trainer.batches import Batches, Rows
from isotherm.trainer.checkpoint import Checkpoint
from isotherm.trainer.stack import Copies

# Seconds between two looks at what a device has come to, each of which stops it for a while.
_PATIENCE_S: Final = 0.1


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


class DivergedError(Exception):
    """The loss of a copy has left the finite numbers in some step of an epoch."""

    def __init__(self, epoch: int, steps: Sequence[Tensor]) -> None:
        super().__init__(epoch)
        self.epoch = epoch
        wrong = next(index for index, step in enumerate(steps) if not step.isfinite().all())
        self.step, self.steps = wrong + 1, len(steps)
        self.value: float = steps[wrong][~steps[wrong].isfinite()][0].item()


class _Epoch(NamedTuple):
    """An epoch's losses, on the device: of each step and their mean, shape (copies,), and so on."""

    number: int
    steps: list[Tensor]
    training: Tensor
    held_out: Tensor | None
    watched: Tensor | None


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
        *,
        patient: bool = False,
    ) -> None:
        """Take what changes; `patient`: whoever reads losses waits for a device, so let it be."""
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
        self._unread: list[_Epoch] = []
        self._patient = patient
        self._read_s = time.monotonic()

    def note(self, epoch: int, steps: list[Tensor], each: Tensor) -> None:
        """Note the losses of an epoch, without a look at them: the device need not have them yet.

        Args:
            epoch: that has ended.
            steps: the loss of each copy in each step, shape (copies,).
            each: the loss of each row, shape (copies, rows).
        """
        self.epoch = epoch
        training = torch.stack(steps).mean(dim=0) if steps[1:] else steps[0]
        held_out = (each * self._rows.held_out).sum(dim=-1) if self._folds else None
        watched = None
        if self.best and self._rows.validation is not None:
            watched = (each * self._rows.validation).sum(dim=-1)
            self.best.update(epoch, watched)
        self._unread.append(_Epoch(epoch, steps, training, held_out, watched))

    @property
    def due(self) -> bool:
        """Whether it is time to read what was noted: at once, or now and then on a device."""
        return not self._patient or time.monotonic() - self._read_s >= _PATIENCE_S

    def read(self) -> Iterator[tuple[int, float, float]]:
        """Yield each epoch that was noted, with the loss of the first copy, and the one to tell.

        That is the loss of rows that were not learned from. This waits for the device, once.

        Raises:
            DivergedError: a loss has left the finite numbers; the epochs before it were yielded.
        """
        unread, self._unread = self._unread, []
        if not unread:
            return
        training = _numbers([one.training for one in unread])
        held_out = _numbers([one.held_out for one in unread if one.held_out is not None])
        watched = _numbers([one.watched for one in unread if one.watched is not None])
        self._read_s = time.monotonic()
        for index, one in enumerate(unread):
            if not math.isfinite(sum(training[index])):
                raise DivergedError(one.number, one.steps)
            self._training.append(training[index])
            validation = watched[index][0] if watched else math.nan
            if held_out:
                self._held_out.append(held_out[index])
                validation = sum(held_out[index][: self._told]) / self._folds
            yield one.number, training[index][0], validation

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


def _numbers(losses: list[Tensor]) -> list[list[float]]:
    """Return the numbers of some tensors, all at once."""
    if losses[1:]:
        return cast("list[list[float]]", torch.stack(losses).tolist())
    return [one.tolist() for one in losses]


def _mean(losses: list[float]) -> float:
    return sum(losses) / len(losses)
