"""The learner: one model in training, and all that must be kept of it to go on."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from isotherm.trainer import optimizers, precision
from isotherm.trainer.config import FitConfig
from isotherm.trainer.objective import Objective
from isotherm.trainer.proof import Learning
from isotherm.trainer.session import Best, History, load
from isotherm.trainer.stack import Single
from isotherm.trainer.world import World


class Learner:
    """One model of several that learn from the same rows as they pass by."""

    def __init__(
        self,
        name: str,
        core: nn.Sequential,
        *,
        objective: Objective,
        config: FitConfig,
        rows: int,
        steps: int,
        decay: float,
        place: torch.device,
    ) -> None:
        """Take the rows and the steps of an epoch, and the penalty as the configuration has it."""
        self.name = name
        self.copies = Single(core, place)
        self.copies.train(True)
        self._forward = precision.forward(self.copies, config)
        self._objective = objective
        self._clip = config.clip_norm
        self._optimizer = optimizers.build(self.copies, config)
        self._schedule = optimizers.schedule(self._optimizer, config, config.epochs * steps)
        self._penalty = optimizers.Penalty(
            self.copies, self._optimizer, config, rows=rows, decay=(decay,)
        )
        self._gradients: Any = precision.learning(self._look, config)
        self._best = Best(self.copies, config.patience) if config.patience else None
        self.loss = torch.zeros((), device=place)
        self._loss = self.loss
        self._training: list[float] = []
        self._validation: list[float] = []
        self._parameters = [*self.copies.parameters.values()]
        # Whether it has had no better epoch within the patience.
        self.exhausted = False

    @property
    def learning(self) -> Learning:
        """All that a step changes."""
        return Learning(copies=self.copies, optimizer=self._optimizer, sums=(self.loss,))

    @property
    def history(self) -> History:
        """The losses after each epoch."""
        return History(training=tuple(self._training), validation=tuple(self._validation))

    def step(self, batch: tuple[Tensor, Tensor, Tensor] | None, world: World) -> Tensor:
        """Learn from encoded rows, targets as they are learned, and what each row counts.

        With None there are no rows here, but in other processes. Returns the loss.
        """
        self._optimizer.step(partial(self._gradients, batch, world))
        return self._loss

    def advance(self) -> None:
        """Go on in the schedule, after a step."""
        if self._schedule:
            self._schedule.step()

    def _look(self, batch: tuple[Tensor, Tensor, Tensor] | None, world: World) -> Tensor:
        self._optimizer.zero_grad()
        rows = 0
        loss = self.loss.new_zeros(())
        if batch is not None:
            x, y, weights = batch
            rows = len(x)
            losses = self._objective.losses(self._forward(x.unsqueeze(0)), y.unsqueeze(0))[0]
            loss = (losses * weights).mean()
            torch.autograd.backward(loss)
        loss = world.average(self._parameters, float(rows), loss.detach())
        self._penalty.add_gradients()
        if self._clip:
            optimizers.clip(self.copies, self._clip)
        self.loss += loss
        self._loss = loss
        return loss

    @torch.no_grad()
    def end_epoch(self, steps: int, x: Tensor, y: Tensor, weights: Tensor, watched: Tensor) -> None:
        """Note the losses of an epoch of so many steps; measure the model on rows held out.

        Args:
            steps: of the epoch.
            x: encoded, shape (rows, width).
            y: as targets are learned.
            weights: shape (rows,), 1 in sum over the rows that measure.
            watched: shape (rows,), likewise over the rows that decide when to stop.
        """
        self.copies.train(False)
        losses = self._objective.losses(self.copies(x.unsqueeze(0)), y.unsqueeze(0))[0]
        self.copies.train(True)
        self._training.append(float(self.loss) / steps)
        self._validation.append(float((losses * weights).sum()))
        self.loss.zero_()
        if self._best:
            self._best.update(len(self._training), (losses * watched).sum().reshape(1))
            # Asked before every step, and answered by the device: once an epoch is enough.
            self.exhausted = self._best.exhausted(len(self._training))

    def finish(self) -> nn.Sequential:
        """Return the model with the weights of its best epoch, or of the last one."""
        if self._best:
            self._best.restore()
        self.copies.train(False)
        return self.copies.member(0)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes."""
        parts = {"optimizer": self._optimizer, "schedule": self._schedule, "best": self._best}
        return {
            "copies": {name: value.detach() for name, value in self.copies.state().items()},
            "loss": self.loss,
            "training": self._training,
            "validation": self._validation,
        } | {name: part.state_dict() for name, part in parts.items() if part is not None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        load(self.copies, state["copies"])
        self.loss.copy_(state["loss"])
        self._training, self._validation = state["training"], state["validation"]
        self._optimizer.load_state_dict(state["optimizer"])
        if self._schedule:
            self._schedule.load_state_dict(state["schedule"])
        if self._best:
            self._best.load_state_dict(_to(state["best"], self.loss.device))
            self.exhausted = self._best.exhausted(len(self._training))


def _to(value: Any, place: torch.device) -> Any:
    if isinstance(value, dict):
        return {name: _to(part, place) for name, part in value.items()}
    return value.to(place)
