"""The training: epochs over a stream, flat, and from any step on."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Final

import torch
from torch import Tensor

from isotherm.trainer import recorder as recorders
from isotherm.trainer.checkpoint import Checkpoint
from isotherm.trainer.config import FitConfig
from isotherm.trainer.copies import one_thread
from isotherm.trainer.errors import TrainingError
from isotherm.trainer.model import seeded
from isotherm.trainer.progress import OnRows, Watch
from isotherm.trainer.recorder import Recorder, Tensors
from isotherm.trainer.steps import Step, Steps
from isotherm.trainer.stream.batches import Batches, HeldOut
from isotherm.trainer.stream.learner import Learner
from isotherm.trainer.stream.shuffle import Walk
from isotherm.trainer.world import World

# Steps between two looks at whether the loss is still a number: each waits for the device.
_LOOK: Final = 100
# A second thread costs more than it brings where a step is smaller.
_SINGLE_THREAD_NUMBERS: Final = 100_000
# Seconds between two words about the rows of an epoch.
_TOLD_S: Final = 0.5


class Training:
    """Some learners and the rows that pass by them."""

    def __init__(
        self,
        learners: Sequence[Learner],
        walk: Walk,
        batches: Batches,
        held_out: HeldOut,
        *,
        rows: int,
        config: FitConfig,
        world: World,
        watch: Watch | None = None,
        on_rows: OnRows | None = None,
        checkpoint: Checkpoint | None = None,
        every: int = 1000,
        recorder: Recorder | None = None,
    ) -> None:
        """Take what to learn from, of so many rows, and whom to tell.

        A checkpoint is saved every so many steps. The `recorder` is the device's own.
        """
        self._learners = learners
        self._place = learners[0].loss.device
        self._active: list[Learner] = []
        self._steps: Step = self._learn
        # What processes send each other in a step is not recorded.
        recordable = world.size == 1 and all(one.copies.recordable for one in learners)
        self._recorder = recorder or recorders.of(
            self._place, config, walk.steps * config.epochs, recordable=recordable
        )
        self._walk = walk
        self._batches = batches
        self._held_out = held_out
        self._rows = rows
        self._config = config
        self._world = world
        self._told = {one.name: watch(one.name, config.epochs) for one in learners if watch}
        self._on_rows = on_rows
        self._heard = 0.0
        # Rank 0 alone has one.
        self._checkpoint = checkpoint
        self._every = every
        self._step = 0

    def run(self) -> None:
        """Learn until the last epoch, or until nobody gets better.

        Raises:
            TrainingError: a loss left the finite numbers.
        """
        steps, epochs = self._walk.steps, self._config.epochs
        saving = bool(self._world.broadcast(self._checkpoint is not None))
        # Dropout draws other numbers in each process.
        seed = (self._config.seed + self._world.rank) % 2**63
        few = self._walk.numbers_a_step < _SINGLE_THREAD_NUMBERS
        working = recorders.working(self._recorder, self._place)
        with working, seeded(seed), one_thread() if few else nullcontext():
            self._resume()
            self._attend()
            if not self._active:
                return
            for rows in self._walk.batches(self._step, epochs):
                if rows is None:
                    self._learn()
                else:
                    self._steps(self._batches.placed(rows))
                for learner in self._active:
                    learner.advance()
                self._step += 1
                self._tell()
                ended = self._step % steps == 0
                if ended:
                    self._end_epoch()
                over = ended and (self._step == steps * epochs or not self._active)
                if saving and (over or self._step % self._every == 0):
                    self._save()
                if over:
                    return

    def _learn(self, *rows: Tensor) -> Tensors:
        """Make one step of each learner that has not ended, from placed rows; without any, none."""
        batch = self._batches.of(*rows) if rows else None
        return tuple([learner.step(batch, self._world) for learner in self._active])

    def _attend(self) -> None:
        """Learn with those learners that have not ended."""
        active = [learner for learner in self._learners if not learner.exhausted]
        if active == self._active:
            return
        self._active = active
        self._steps = self._learn
        if self._recorder and active:
            self._steps = Steps(self._learn, [one.learning for one in active], self._recorder)

    def _end_epoch(self) -> None:
        epoch, held = self._step // self._walk.steps, self._held_out
        for learner in self._active:
            self._check(learner)
            self._world.settle(learner.copies.module)
            learner.end_epoch(self._walk.steps, held.x, held.y, held.weights, held.watched)
            if learner.name in self._told:
                training, validation = learner.history.training, learner.history.validation
                self._told[learner.name](epoch, training[-1], validation[-1])
        self._attend()

    def _tell(self) -> None:
        steps = self._walk.steps
        within = self._step % steps
        if within % _LOOK == 0 and within:
            for learner in self._learners:
                self._check(learner)
        now = time.monotonic()
        if self._on_rows and (now - self._heard >= _TOLD_S or not within):
            loss = float(self._learners[0].loss) / (within or steps)
            self._on_rows(self._step * self._rows // steps, loss)
            self._heard = now

    def _check(self, learner: Learner) -> None:
        if math.isfinite(float(learner.loss)):
            return
        steps = self._walk.steps
        epoch, step = divmod(self._step - 1, steps)
        kept = (
            f"; the last good checkpoint is '{self._checkpoint.path}'" if self._checkpoint else ""
        )
        msg = (
            f"the loss of the {learner.name} became {float(learner.loss)} in epoch {epoch + 1}, by "
            f"step {step + 1} of {steps}; nothing was published{kept}. Lower the learning rate "
            f"({self._config.learning_rate:g})"
        )
        raise TrainingError(msg)

    def _save(self) -> None:
        """Write where this training stands: all processes together, rank 0 to the disk."""
        for learner in self._learners:
            self._check(learner)
        rng = {"torch": torch.get_rng_state()}
        if self._place.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self._place)
        state: dict[str, Any] = {
            "step": self._step,
            "learners": {one.name: one.state_dict() for one in self._learners},
            "rng": self._world.gather(rng),
        }
        if self._checkpoint:
            self._checkpoint.save(state)
        # Nobody goes beyond a checkpoint that is not there.
        self._world.barrier()

    def _resume(self) -> None:
        loaded = self._checkpoint.load(torch.device("cpu")) if self._checkpoint else None
        state = self._world.broadcast(loaded)
        if state is None:
            return
        self._step = state["step"]
        for learner in self._learners:
            learner.load_state_dict(state["learners"][learner.name])
        rng = state["rng"][self._world.rank]
        torch.set_rng_state(rng["torch"])
        if "cuda" in rng and self._place.type == "cuda":
            torch.cuda.set_rng_state(rng["cuda"], self._place)
