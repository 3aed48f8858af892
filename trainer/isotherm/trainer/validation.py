"""Cross-validation of one network: a copy for all rows and one a fold, side by side."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import nn

from isotherm.trainer import embeddings, encoding, loop, views
from isotherm.trainer import weights as averages
from isotherm.trainer.batches import Rows
from isotherm.trainer.candidates import Candidate, measured
from isotherm.trainer.checkpoint import Checkpoints
from isotherm.trainer.config import FitConfig
from isotherm.trainer.data import Floats, Table
from isotherm.trainer.embeddings import Embeddings
from isotherm.trainer.folds import REPEATED_ROWS, Folds, Masks
from isotherm.trainer.model import named_layers, parameter_count
from isotherm.trainer.objective import Objective
from isotherm.trainer.progress import Watch
from isotherm.trainer.stack import Copies, Single, Stack, can_stack
from isotherm.trainer.views import View

# The numbers that all copies of a stack may hold in one layer; beyond, folds are trained in turn.
_STACKED_NUMBERS: Final = 20_000_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Training:
    """What all networks of one leaderboard share."""

    table: Table
    parts: Folds
    config: FitConfig
    objective: Objective
    watch: Watch | None = None
    checkpoints: Checkpoints | None = None

    def view(self, learned: Masks, held_out: Masks, *, stopping: bool = True) -> View:
        """Return the table as copies see it that learn from some rows, and leave others out.

        `stopping` is whether rows may decide when to stop, where the settings ask for that.
        """
        stopping = stopping and bool(self.config.patience)
        return views.of(
            self.table, self.objective, self.config, learned, held_out, stopping=stopping
        )

    def run(
        self,
        stage: str,
        copies: Copies,
        rows: Rows,
        *,
        decay: Sequence[float],
        epochs: int = 0,
        told: int | None = None,
    ) -> loop.Curves:
        """Train copies as a stage of its own, told and saved under its name."""
        epochs = epochs or self.config.epochs
        return loop.fit(
            copies,
            rows,
            self.config,
            objective=self.objective,
            decay=decay,
            epochs=epochs,
            told=told,
            on_epoch=self.watch(stage, epochs) if self.watch else None,
            checkpoint=self.checkpoints.stage(stage) if self.checkpoints else None,
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Outcome:
    """What one penalty came to.

    Attributes:
        predictions: shape (1 + folds, rows, columns), the fit to all rows first.
    """

    decay: float
    predictions: Floats
    core: nn.Sequential
    history: loop.History


def cross_validate(
    name: str, network: nn.Sequential, training: Training
) -> tuple[Candidate, loop.History]:
    """Train the network on all rows and on every fold; choose its penalty by the folds."""
    table, parts, objective = training.table, training.parts, training.objective
    decays = _decays(network, training)
    if decays:
        outcomes = _together(name, network, training, decays)
        note = f"chosen from weight decays {', '.join(f'{decay:g}' for decay in decays)}: "
    else:
        outcomes = [_in_turn(name, network, training)]
        note = "its folds were trained one after the other"
        _log.info("%s: %s", name, note)
    tested = table.take(parts.tested)

    def error(outcome: _Outcome) -> float:
        held_out = parts.gather(outcome.predictions[1:])
        errors = objective.errors(held_out, tested.y, table.spread)
        return float(averages.mean(errors.mean(axis=0), tested.weights))

    best = min(outcomes, key=error)
    if decays:
        note = f"{note}{best.decay:g}" if len(decays) > 1 else ""
    candidate = measured(
        name,
        best.core,
        parameters=parameter_count(network),
        objective=objective,
        table=table,
        tested=parts.tested,
        held_out=parts.gather(best.predictions[1:]),
        fitted=best.predictions[0],
        note=note,
        refit=partial(_refit, f"{name}-coverage", network, training, best.decay)
        if decays
        else None,
    )
    return candidate, best.history


def alone(network: nn.Sequential, training: Training) -> tuple[nn.Sequential, loop.History]:
    """Train the network on all rows; nothing is left out, and nothing is compared."""
    nothing = Folds(method="none", held_out=np.zeros((0, training.table.rows), dtype=np.bool_))
    outcome = _in_turn("network", network, replace(training, parts=nothing))
    return outcome.core, outcome.history


def configurations(network: nn.Sequential, training: Training) -> int:
    """Return how many fits `cross_validate` chooses from."""
    return len(_decays(network, training)) or 1


def _decays(network: nn.Sequential, training: Training) -> tuple[float, ...]:
    """Return the penalties to choose from in one stack; none where there can be no stack."""
    table, config = training.table, training.config
    # LBFGS takes one step for all that it is given, so the copies would depend on each other.
    width = encoding.width(table.features)
    if config.optimizer == "lbfgs" or not can_stack(network, width):
        return ()
    # A table of vectors has many rows, of which a row of the table looks one up.
    layers = (layer for _, layer in named_layers(network) if not isinstance(layer, Embeddings))
    outputs = (len(value) for layer in layers for value in layer.parameters() if value.ndim)
    width = max([width, embeddings.inner_width(table.features), *outputs])
    numbers = table.rows * width * (1 + len(training.parts.held_out))
    decays = config.weight_decay if table.rows <= REPEATED_ROWS else config.weight_decay[:1]
    while decays and numbers * len(decays) > _STACKED_NUMBERS:
        decays = decays[:1] if len(decays) > 1 else ()
    return decays


def _together(
    name: str, network: nn.Sequential, training: Training, decays: Sequence[float]
) -> list[_Outcome]:
    """Train all penalties on all folds as one stack."""
    table = training.table
    # All rows first, then each fold: one stack trains the model that may be published and those
    # that only measure it.
    learned = np.vstack([np.ones(table.rows, dtype=np.bool_), training.parts.learned])
    held_out = np.vstack([np.zeros(table.rows, dtype=np.bool_), training.parts.held_out])
    each, penalties = len(held_out), (len(decays), 1)
    learned, held_out = np.tile(learned, penalties), np.tile(held_out, penalties)
    view = training.view(learned, held_out)
    stack = Stack(network, len(held_out), view.device)
    decay = [value for value in decays for _ in range(each)]
    curves = training.run(name, stack, view.rows, decay=decay, told=each)
    predictions = view.predict(stack)
    outcomes = []
    for index, value in enumerate(decays):
        first = index * each
        outcome = _Outcome(
            decay=value,
            predictions=predictions[first : first + each],
            core=stack.member(first),
            history=curves.history(first, first + each),
        )
        epochs = curves.best_epochs[first]
        outcomes.append(_refitted(name, network, training, outcome, epochs))
    return outcomes


def _refit(
    stage: str,
    network: nn.Sequential,
    training: Training,
    decay: float,
    held_out: NDArray[np.bool_],
) -> Floats:
    """Train once more for each row of `held_out`, in one stack."""
    view = training.view(~held_out, held_out)
    stack = Stack(network, len(held_out), view.device)
    training.run(stage, stack, view.rows, decay=[decay] * len(held_out))
    return view.predict(stack)


def _in_turn(name: str, network: nn.Sequential, training: Training) -> _Outcome:
    """Train one fold after the other, on its rows alone."""
    table, config = training.table, training.config
    nothing = np.zeros((1, table.rows), dtype=np.bool_)
    parts = [(~nothing, nothing), *_one_by_one(training.parts)]
    predictions, histories, core, epochs = [], [], network, config.epochs
    for index, (learned, held_out) in enumerate(parts):
        view = training.view(learned, held_out)
        single = Single(network, view.device)
        stage = f"{name}-fold-{index}" if index else name
        curves = training.run(stage, single, view.rows, decay=config.weight_decay[:1])
        predictions.append(view.predict(single)[0])
        histories.append(curves)
        if not index:
            core, epochs = single.member(0), curves.best_epochs[0]
    folds = [[losses[0] for losses in curves.held_out] for curves in histories[1:]]
    history = loop.History(
        training=tuple(losses[0] for losses in histories[0].training),
        # Folds that stopped early leave the others to speak.
        validation=tuple(float(np.mean(losses)) for losses in zip(*folds, strict=False)),
    )
    outcome = _Outcome(
        decay=config.weight_decay[0],
        predictions=np.stack(predictions),
        core=core,
        history=history,
    )
    return _refitted(name, network, training, outcome, epochs)


def _refitted(
    name: str, network: nn.Sequential, training: Training, outcome: _Outcome, epochs: int
) -> _Outcome:
    """Train on the rows too that decided when to stop, for as many epochs."""
    if not training.config.patience:
        return outcome
    nothing = np.zeros((1, training.table.rows), dtype=np.bool_)
    view = training.view(~nothing, nothing, stopping=False)
    single = Single(network, view.device)
    stage = f"{name}-all-rows-{outcome.decay:g}"
    training.run(stage, single, view.rows, decay=[outcome.decay], epochs=max(epochs, 1))
    fitted = view.predict(single)
    return _Outcome(
        decay=outcome.decay,
        predictions=np.concatenate([fitted, outcome.predictions[1:]]),
        core=single.member(0),
        history=outcome.history,
    )


def _one_by_one(parts: Folds) -> Iterator[tuple[Masks, Masks]]:
    """Yield what each fold learns from and what it leaves out, each of shape (1, rows)."""
    for learned, held_out in zip(parts.learned, parts.held_out, strict=True):
        yield learned[np.newaxis], held_out[np.newaxis]
