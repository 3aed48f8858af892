"""The leaderboard: mean, line and network on the same folds, and which of them is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from isotherm.trainer import loop
from isotherm.trainer.config import ModelChoice, TrainConfig
from isotherm.trainer.data import Floats, Table
from isotherm.trainer.features import Scaling
from isotherm.trainer.model import Stack, affine, network, parameter_count

LEAVE_ONE_OUT_ROWS: Final = 50
FOLDS: Final = 5
# Many networks beat the line by one standard error on the thermometer, and every one of them is
# further from the truth; two standard errors keep the line there.
STANDARD_ERRORS: Final = 2.0

Fit = Callable[[Floats, Floats], tuple[Floats, Floats]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Folds:
    """How the rows are left out: `held_out` has shape (folds, rows), True where left out."""

    method: str
    held_out: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Candidate:
    """One model, fitted to all rows, with its errors.

    Attributes:
        core: from standardised features to standardised targets.
        held_out_residuals: shape (rows, targets), in raw units, each row predicted by a fit that
            did not see it.
        training_residuals: shape (rows, targets), in raw units.
    """

    name: str
    parameters: int
    core: nn.Sequential
    held_out_residuals: Floats
    training_residuals: Floats

    @property
    def cross_validation_rmse(self) -> float:
        """Of the first target, in its unit."""
        return _rmse(self.held_out_residuals)

    @property
    def training_rmse(self) -> float:
        """Of the first target, in its unit."""
        return _rmse(self.training_residuals)


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What the richer model gains: squared error a row, targets standardised, paired by row."""

    simpler: str
    richer: str
    gain: float
    standard_error: float

    @property
    def convinces(self) -> bool:
        """Whether the gain exceeds the noise by enough to take the richer model."""
        return self.gain > STANDARD_ERRORS * self.standard_error


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Leaderboard:
    """The candidates, simplest first, and the two names: kept by the rule, chosen in the end."""

    method: str
    candidates: tuple[Candidate, ...]
    comparisons: tuple[Comparison, ...]
    kept: str
    chosen: Candidate
    history: loop.History


def compare(table: Table, config: TrainConfig, on_epoch: loop.OnEpoch | None = None) -> Leaderboard:
    """Fit and cross-validate every candidate on the same folds; choose one."""
    parts = folds(table.rows, config.fit.seed)
    fitted, history = _network(table, parts, config, on_epoch)
    candidates = (
        _closed_form("mean", _fit_mean, table, parts),
        _closed_form("line", _fit_line, table, parts),
        fitted,
    )
    scale = Scaling.of(table.y).scale
    kept, comparisons = keep(candidates, scale)
    return Leaderboard(
        method=parts.method,
        candidates=candidates,
        comparisons=comparisons,
        kept=kept.name,
        chosen=_choose(config.model, candidates, kept),
        history=history,
    )


def folds(rows: int, seed: int) -> Folds:
    """Leave one row out at a time while that is cheap, else a fifth of the shuffled rows."""
    if rows <= LEAVE_ONE_OUT_ROWS:
        return Folds(method="leave-one-out", held_out=np.eye(rows, dtype=np.bool_))
    fold_of_row = np.random.default_rng(seed).permutation(np.arange(rows) % FOLDS)
    held_out = fold_of_row == np.arange(FOLDS)[:, np.newaxis]
    return Folds(method=f"{FOLDS}-fold", held_out=held_out)


def keep(
    candidates: tuple[Candidate, ...], scale: Floats
) -> tuple[Candidate, tuple[Comparison, ...]]:
    """Go from the simplest to the richest; move on only where the gain convinces.

    `scale`, of shape (targets,), makes the errors of several targets comparable.
    """
    kept, comparisons = candidates[0], []
    for richer in candidates[1:]:
        comparisons.append(_compare_pair(kept, richer, scale))
        if comparisons[-1].convinces:
            kept = richer
    return kept, tuple(comparisons)


def _compare_pair(simpler: Candidate, richer: Candidate, scale: Floats) -> Comparison:
    before, after = (
        np.square(model.held_out_residuals / scale).mean(axis=1) for model in (simpler, richer)
    )
    gains = before - after
    return Comparison(
        simpler=simpler.name,
        richer=richer.name,
        gain=float(gains.mean()),
        standard_error=float(gains.std(ddof=1) / np.sqrt(len(gains))),
    )


def _choose(choice: ModelChoice, candidates: tuple[Candidate, ...], kept: Candidate) -> Candidate:
    return next((model for model in candidates if model.name == choice), kept)


def _fit_mean(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    return np.zeros((y.shape[1], x.shape[1])), np.asarray(y.mean(axis=0), dtype=np.float64)


def _fit_line(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Solve least squares in float64; return weight (targets, features) and bias (targets,)."""
    design = np.column_stack([x, np.ones(len(x))])
    solution = np.asarray(np.linalg.lstsq(design, y, rcond=None)[0], dtype=np.float64)
    return solution[:-1].T, solution[-1]


def _closed_form(name: str, fit: Fit, table: Table, parts: Folds) -> Candidate:
    residuals = np.empty_like(table.y)
    for held_out in parts.held_out:
        weight, bias, inputs, outputs = _solve(fit, table.x[~held_out], table.y[~held_out])
        predicted = inputs.standardise(table.x[held_out]) @ weight.T + bias
        residuals[held_out] = outputs.restore(predicted) - table.y[held_out]
    weight, bias, inputs, outputs = _solve(fit, table.x, table.y)
    predicted = outputs.restore(inputs.standardise(table.x) @ weight.T + bias)
    core = affine(weight, bias)
    return Candidate(
        name=name,
        # The mean's weights are zero by definition, not learned.
        parameters=len(bias) if name == "mean" else parameter_count(core),
        core=core,
        held_out_residuals=residuals,
        training_residuals=predicted - table.y,
    )


def _solve(fit: Fit, x: Floats, y: Floats) -> tuple[Floats, Floats, Scaling, Scaling]:
    inputs, outputs = Scaling.of(x), Scaling.of(y)
    weight, bias = fit(inputs.standardise(x), outputs.standardise(y))
    return weight, bias, inputs, outputs


def _network(
    table: Table, parts: Folds, config: TrainConfig, on_epoch: loop.OnEpoch | None
) -> tuple[Candidate, loop.History]:
    # All rows first, then each fold: one stack trains the model that may be published and those
    # that only measure it.
    held_out = np.vstack([np.zeros(table.rows, dtype=np.bool_), parts.held_out])
    scalings = [(Scaling.of(table.x[~out]), Scaling.of(table.y[~out])) for out in held_out]
    model = network(
        config.network.layers,
        features=table.x.shape[1],
        targets=table.y.shape[1],
        seed=config.fit.seed,
    )
    stack = Stack(model, len(held_out))
    rows = _rows(table, held_out, scalings)
    with loop.threads(rows):
        history = loop.fit(stack, rows, config.fit, on_epoch)
        with torch.inference_mode():
            outputs = stack(rows.x).numpy().astype(np.float64)
    predicted = np.stack([y.restore(out) for out, (_, y) in zip(outputs, scalings, strict=True)])
    residuals = predicted - table.y
    candidate = Candidate(
        name="network",
        parameters=parameter_count(model),
        core=stack.member(0),
        held_out_residuals=residuals[np.argmax(held_out, axis=0), np.arange(table.rows)],
        training_residuals=residuals[0],
    )
    return candidate, history


def _rows(
    table: Table, held_out: NDArray[np.bool_], scalings: list[tuple[Scaling, Scaling]]
) -> loop.Rows:
    x = np.stack([inputs.standardise(table.x) for inputs, _ in scalings])
    y = np.stack([outputs.standardise(table.y) for _, outputs in scalings])
    return loop.Rows(
        x=torch.tensor(x, dtype=torch.float32),
        y=torch.tensor(y, dtype=torch.float32),
        training=_weights(~held_out),
        held_out=_weights(held_out),
    )


def _weights(mask: NDArray[np.bool_]) -> torch.Tensor:
    counts = np.maximum(mask.sum(axis=1, keepdims=True), 1)
    return torch.tensor(mask / counts, dtype=torch.float32)


def _rmse(residuals: Floats) -> float:
    return float(np.sqrt(np.square(residuals[:, 0]).mean()))
