"""The candidate: one model of the leaderboard, with its errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from isotherm.trainer.coverage import Refit
from isotherm.trainer.data import Floats
from isotherm.trainer.objective import Objective


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scores:
    """A candidate's errors, as its objective measures them.

    Attributes:
        rows: shape (rows,); the error of each row while it was left out, a mean over repeats.
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
        held_out_residuals: shape (rows, columns), in raw units, or of probabilities; each row
            predicted by a fit that did not see it.
        training_residuals: shape (rows, columns), likewise, by the fit to all rows.
        scores: None where they are the squares of the residuals.
        note: what is special about how it was fitted, for the report.
        refit: fits the same model again, with other rows left out; None where that is too dear.
    """

    name: str
    parameters: int
    core: nn.Sequential
    held_out_residuals: Floats
    training_residuals: Floats
    scores: Scores | None = None
    note: str = ""
    refit: Refit | None = None

    @property
    def cross_validation_error(self) -> float:
        """By the leaderboard's metric: RMSE of the first target in its unit, or log loss."""
        return self.scores.cross_validation if self.scores else _rmse(self.held_out_residuals)

    @property
    def training_error(self) -> float:
        """By the leaderboard's metric."""
        return self.scores.training if self.scores else _rmse(self.training_residuals)

    def row_errors(self, scale: Floats) -> Floats:
        """Return the error of each row while it was left out, shape (rows,).

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
    held_out: Floats,
    fitted: Floats,
    y: Floats,
    scale: Floats,
    note: str = "",
    refit: Refit | None = None,
) -> Candidate:
    """Return the candidate of these predictions.

    Args:
        name: on the leaderboard.
        core: of the fit to all rows.
        parameters: that it learned.
        objective: that measures it.
        held_out: shape (repeats, rows, columns); each row predicted by fits that did not see it.
        fitted: shape (rows, columns); predicted by the fit to all rows.
        y: shape (rows, targets).
        scale: shape (targets,).
        note: for the report.
        refit: for `coverage`.
    """
    truth = objective.truth(y)
    return Candidate(
        name=name,
        parameters=parameters,
        core=core,
        # Not their mean over the repeats: averaged predictions are better than one model's.
        held_out_residuals=held_out[0] - truth,
        training_residuals=fitted - truth,
        scores=Scores(
            rows=objective.errors(held_out, y, scale).mean(axis=0),
            cross_validation=objective.score(held_out, y),
            training=objective.score(fitted, y),
            spread=float(np.std([objective.score(part, y) for part in held_out])),
        ),
        note=note,
        refit=refit,
    )


def _rmse(residuals: Floats) -> float:
    return float(np.sqrt(np.square(residuals[:, 0]).mean()))
