"""The trial: one network of the search, measured on the leaderboard's folds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import torch

from isotherm.trainer import model, networks, select, validation
from isotherm.trainer.config import TrainConfig
from isotherm.trainer.data import Table
from isotherm.trainer.errors import TrainingError
from isotherm.trainer.progress import OnEpoch, Watch
from isotherm.trainer.tune.config import Scalar

# How often a stage tells how it stands, whatever its epochs.
RUNGS: Final = 20

# From a step and the validation loss there to whether the trial goes on.
Report = Callable[[int, float], bool]


class State(StrEnum):
    """How a trial ended."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    DIVERGED = "diverged"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a trial came to.

    Attributes:
        error: in cross-validation, by the leaderboard's metric; None unless it is complete.
        parameters: of the network, 0 where that is not known.
        seconds: that it took.
        reason: why it is not complete.
    """

    state: State
    error: float | None = None
    parameters: int = 0
    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """A trial of the study that has ended.

    Attributes:
        index: its place in the study, from 0.
        parameters: that it tried, by name.
        losses: validation loss by step.
        started: seconds since 1970.
    """

    index: int
    parameters: Mapping[str, Scalar]
    outcome: Outcome
    losses: Mapping[int, float]
    started: float

    @property
    def error(self) -> float:
        """In cross-validation; infinite unless it is complete."""
        return math.inf if self.outcome.error is None else self.outcome.error


def ranked(trials: Iterable[Tried]) -> list[Tried]:
    """Return the complete trials, the best first; of equals, the first tried."""
    complete = (one for one in trials if one.outcome.state is State.COMPLETE)
    return sorted(complete, key=lambda one: (one.error, one.index))


class _Behind(Exception):  # noqa: N818  no error
    """The trial is given up."""


def run(table: Table, config: TrainConfig, report: Report) -> Outcome:
    """Cross-validate the configuration's first network; ask `report` now and then."""
    started, size = time.monotonic(), 0

    def ended(state: State, error: float | None = None, reason: str = "") -> Outcome:
        seconds = time.monotonic() - started
        return Outcome(state=state, error=error, parameters=size, seconds=seconds, reason=reason)

    try:
        training = select.shared(table, config, _watch(report))
        network = networks.build(config.network, table, training.objective, config.fit.seed)
        size = model.parameter_count(network)
        candidate, _ = validation.cross_validate("network", network, training)
    except _Behind:
        return ended(State.PRUNED, reason="it fell behind the others")
    except TrainingError as error:
        return ended(State.DIVERGED, reason=str(error).partition(";")[0])
    except (MemoryError, torch.OutOfMemoryError):
        return ended(State.FAILED, reason="it ran out of memory")
    measured = candidate.cross_validation_error
    if not math.isfinite(measured):
        return ended(State.DIVERGED, reason=f"its error is {measured}")
    return ended(State.COMPLETE, measured)


def _watch(report: Report) -> Watch:
    """Return what tells of each stage that has a validation loss, and ends it on demand."""

    def watch(stage: str, epochs: int) -> OnEpoch:
        # Folds that are trained one after the other follow each other; a stack is one stage. Steps
        # that mean the same have the same number, since trials are compared by step.
        fold = stage.rpartition("-fold-")[2]
        before = RUNGS * int(fold) if fold.isdigit() else 0

        def on_epoch(epoch: int, _training: float, loss: float) -> None:
            step = epoch * RUNGS // epochs
            if math.isnan(loss) or step == (epoch - 1) * RUNGS // epochs:
                return
            if not report(before + step, loss):
                raise _Behind

        return on_epoch

    return watch
