"""Cross-validation of one network: a copy for all rows and one a fold, side by side."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from isotherm.trainer import loop, networks
from isotherm.trainer.batches import Rows
from isotherm.trainer.candidates import Candidate, measured
from isotherm.trainer.checkpoint import Checkpoints
from isotherm.trainer.config import FitConfig
from isotherm.trainer.data import Floats, Table
from isotherm.trainer.features import Scaling
from isotherm.trainer.folds import REPEATED_ROWS, Folds
from isotherm.trainer.model import parameter_count
from isotherm.trainer.objective import Objective, probabilities
from isotherm.trainer.progress import Watch
from isotherm.trainer.stack import Copies, Single, Stack, can_stack

# The numbers that all copies of a stack may hold in one layer; beyond, folds are trained in turn.
_STACKED_NUMBERS: Final = 20_000_000
# Of the rows, decides when to stop, where that is asked for.
_VALIDATION_SHARE: Final = 0.1

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
    scale = Scaling.of(table.y).scale

    def error(outcome: _Outcome) -> float:
        held_out = parts.gather(outcome.predictions[1:])
        return float(objective.errors(held_out, table.y, scale).mean())

    best = min(outcomes, key=error)
    if decays:
        note = f"{note}{best.decay:g}" if len(decays) > 1 else ""
    candidate = measured(
        name,
        best.core,
        parameters=parameter_count(network),
        objective=objective,
        held_out=parts.gather(best.predictions[1:]),
        fitted=best.predictions[0],
        y=table.y,
        scale=scale,
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
    if config.optimizer == "lbfgs" or not can_stack(network, table.x.shape[1]):
        return ()
    width = max([table.x.shape[1], *(len(value) for value in network.parameters() if value.ndim)])
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
    held_out = np.vstack([np.zeros(table.rows, dtype=np.bool_), training.parts.held_out])
    each = len(held_out)
    held_out = np.tile(held_out, (len(decays), 1))
    rows, scalings = _rows(training, held_out)
    place = networks.device(training.config, rows.x.numel())
    rows = rows.to(place)
    stack = Stack(network, len(held_out), place)
    decay = [value for value in decays for _ in range(each)]
    curves = training.run(name, stack, rows, decay=decay, told=each)
    predictions = _predict(stack, rows, scalings, training.objective)
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
    rows, scalings = _rows(training, held_out)
    place = networks.device(training.config, rows.x.numel())
    rows = rows.to(place)
    stack = Stack(network, len(held_out), place)
    training.run(stage, stack, rows, decay=[decay] * len(held_out))
    return _predict(stack, rows, scalings, training.objective)


def _in_turn(name: str, network: nn.Sequential, training: Training) -> _Outcome:
    """Train one fold after the other, on its rows alone."""
    table, config = training.table, training.config
    nothing = np.zeros(table.rows, dtype=np.bool_)
    predictions, histories, core, epochs = [], [], network, config.epochs
    for index, out in enumerate([nothing, *training.parts.held_out]):
        rows, scalings = _rows(training, out[np.newaxis])
        place = networks.device(config, rows.x.numel())
        rows = rows.to(place)
        single = Single(network, place)
        stage = f"{name}-fold-{index}" if index else name
        curves = training.run(stage, single, rows, decay=config.weight_decay[:1])
        predictions.append(_predict(single, rows, scalings, training.objective)[0])
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
    rows, scalings = _rows(training, np.zeros((1, training.table.rows), dtype=np.bool_))
    place = networks.device(training.config, rows.x.numel())
    rows = Rows(
        x=rows.x, y=rows.y, training=_weights(np.ones((1, training.table.rows), dtype=np.bool_)),
        held_out=rows.held_out,
    ).to(place)  # fmt: skip
    single = Single(network, place)
    stage = f"{name}-all-rows-{outcome.decay:g}"
    training.run(stage, single, rows, decay=[outcome.decay], epochs=max(epochs, 1))
    fitted = _predict(single, rows, scalings, training.objective)
    return _Outcome(
        decay=outcome.decay,
        predictions=np.concatenate([fitted, outcome.predictions[1:]]),
        core=single.member(0),
        history=outcome.history,
    )


def _rows(
    training: Training, held_out: NDArray[np.bool_]
) -> tuple[Rows, list[tuple[Scaling, Scaling]]]:
    """Standardise the table for each copy by the rows that the copy may look at."""
    table, labels = training.table, bool(training.objective.classes)
    scalings = [(Scaling.of(table.x[~out]), Scaling.of(table.y[~out])) for out in held_out]
    x = np.stack([inputs.standardise(table.x) for inputs, _ in scalings])
    y = [table.y if labels else outputs.standardise(table.y) for _, outputs in scalings]
    watched = _watched(training)
    return Rows(
        x=torch.tensor(x, dtype=torch.float32),
        y=torch.tensor(np.stack(y), dtype=torch.float32),
        training=_weights(~(held_out | watched)),
        held_out=_weights(held_out),
        validation=_weights(~held_out & watched) if training.config.patience else None,
    ), scalings


def _watched(training: Training) -> NDArray[np.bool_]:
    """Choose the rows that decide when to stop: none unless that is asked for."""
    rows, config = training.table.rows, training.config
    chosen = np.zeros(rows, dtype=np.bool_)
    if config.patience:
        order = np.random.default_rng(config.seed).permutation(rows)
        chosen[order[: int(rows * _VALIDATION_SHARE)]] = True
    return chosen


@torch.inference_mode()
def _predict(
    copies: Copies, rows: Rows, scalings: list[tuple[Scaling, Scaling]], objective: Objective
) -> Floats:
    """Return the predictions of each copy, shape (copies, rows, columns)."""
    copies.train(False)
    outputs: Tensor = torch.cat([copies(rows.x[:, i]) for i in rows.slices()], dim=1)
    if objective.classes:
        return np.asarray(probabilities(outputs.double()).cpu().numpy())
    values = outputs.cpu().numpy().astype(np.float64)
    pairs = zip(values, scalings, strict=True)
    return np.stack([target.restore(value) for value, (_, target) in pairs])


def _weights(mask: NDArray[np.bool_]) -> Tensor:
    counts = np.maximum(mask.sum(axis=1, keepdims=True), 1)
    return torch.tensor(mask / counts, dtype=torch.float32)
