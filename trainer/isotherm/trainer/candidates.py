"""The candidate: one model of the leaderboard, with its errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from isotherm.trainer.coverage import Refit
from isotherm.trainer.data import Floats, Table
from isotherm.trainer.objective import Objective


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scores:
    """A candidate's errors, as its objective measures them.

    Attributes:
        rows: shape (tested rows,); the error of each row while it was left out, a mean of repeats.
        cross_validation: by the metric.
        training: by the metric.
        spread: standard deviation of `cross_validation` over the repeats; 0 without repeats.
    """

    rows: Floats
    cross_validation: float
    training: float
    spread: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Candidate:
    """One model, fitted to all rows, with its errors.

    Attributes:
        core: from standardised features to standardised targets, or to the logits of a label.
        held_out_residuals: shape (tested rows, columns), in raw units, or of probabilities; each
            row predicted by a fit that did not see it.
        training_residuals: shape (rows, columns), likewise, by the fit to all rows.
        learned_residuals: as `held_out_residuals`, on the scales that targets are learned on; None
            where these are the raw ones.
        scores: None where they are the squares of the residuals.
        note: what is special about how it was fitted, for the report.
        refit: fits the same model again, with other rows left out; None where that is too dear.
    """

    name: str
    parameters: int
    core: nn.Sequential
    held_out_residuals: Floats
    training_residuals: Floats
    learned_residuals: Floats | None = None
    scores: Scores | None = None
    note: str = ""
    refit: Refit | None = None

    @property
    def interval_residuals(self) -> Floats:
        """What the interval's width is chosen from, shape (tested rows, columns)."""
        learned = self.learned_residuals
        return self.held_out_residuals if learned is None else learned

    @property
    def cross_validation_error(self) -> float:
        """By the leaderboard's metric: RMSE of the first target in its unit, or log loss."""
        return self.scores.cross_validation if self.scores else _rmse(self.held_out_residuals)

    @property
    def training_error(self) -> float:
        """By the leaderboard's metric."""
        return self.scores.training if self.scores else _rmse(self.training_residuals)

    def row_errors(self, scale: Floats) -> Floats:
        """Return the error of each row while it was left out, shape (tested rows,).

        `scale`, of shape (targets,), makes the errors of several targets comparable.
        """
        if self.scores:
            return self.scores.rows
        return np.asarray(np.square(self.held_out_residuals / scale).mean(axis=1))


def measured(
    name: str,
    core: nn.Sequential,
    *,
    parameters: int,
    objective: Objective,
    table: Table,
    tested: NDArray[np.bool_],
    held_out: Floats,
    fitted: Floats,
    note: str = "",
    refit: Refit | None = None,
) -> Candidate:
    """Return the candidate of these predictions.

    Args:
        name: on the leaderboard.
        core: of the fit to all rows.
        parameters: that it learned.
        objective: that measures it.
        table: of all rows.
        tested: shape (rows,), the rows that were left out.
        held_out: shape (repeats, tested rows, columns), predicted by fits that did not see them.
        fitted: shape (rows, columns); predicted by the fit to all rows.
        note: for the report.
        refit: for `coverage`.
    """
    left_out = table.take(tested)
    y, weights = left_out.y, left_out.weights
    truth, learned = objective.truth(y), None
    if objective.transforms:
        learned = objective.learned(held_out[0]) - objective.learned(y)
    return Candidate(
        name=name,
        parameters=parameters,
        core=core,
        # Not their mean over the repeats: averaged predictions are better than one model's.
        held_out_residuals=held_out[0] - truth,
        training_residuals=fitted - objective.truth(table.y),
        learned_residuals=learned,
        scores=Scores(
            rows=objective.errors(held_out, y, table.spread).mean(axis=0),
            cross_validation=objective.score(held_out, y, weights),
            training=objective.score(fitted, table.y, table.weights),
            spread=float(np.std([objective.score(part, y, weights) for part in held_out])),
        ),
        note=note,
        refit=refit,
    )


def _rmse(residuals: Floats) -> float:
    return float(np.sqrt(np.square(residuals[:, 0]).mean()))
