"""The estimator: a table becomes the served module, and everything that is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from isotherm.trainer import coverage as coverages
from isotherm.trainer import interval, select
from isotherm.trainer.checkpoint import Checkpoints
from isotherm.trainer.config import TrainConfig
from isotherm.trainer.data import Floats, Table
from isotherm.trainer.features import Classifier, Scaling, Served, ServedModel
from isotherm.trainer.progress import Watch


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Fitted:
    """A fitted model.

    Attributes:
        served: the chosen candidate in raw units, with its interval, or with probabilities.
        half_width: shape (targets,), in the targets' units; empty for a label.
        coverage: that the interval stands for, 0..1.
        measured_coverage: of rows left out of model and width alike; None where not measured.
    """

    table: Table
    leaderboard: select.Leaderboard
    served: ServedModel
    half_width: Floats
    coverage: float
    measured_coverage: float | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of a label; empty for numbers."""
        return next((classes for classes in self.table.classes if classes), ())

    def predict(self, x: Floats) -> Floats:
        """Return the predictions for raw `x` (rows, features), or the probabilities of a label."""
        return self.served.answers(x)


def fit(
    table: Table,
    config: TrainConfig,
    watch: Watch | None = None,
    *,
    modules: Mapping[str, nn.Module] | None = None,
    checkpoints: Checkpoints | None = None,
) -> Fitted:
    """Compare the candidates and build the served module of the chosen one."""
    leaderboard = select.compare(table, config, watch, modules=modules, checkpoints=checkpoints)
    residuals = leaderboard.chosen.held_out_residuals
    if any(table.classes):
        half_width, coverage, measured = residuals[:0, 0], 0.0, None
    else:
        half_width, coverage = interval.half_width(residuals, config.coverage)
        refit, seed = leaderboard.chosen.refit, config.fit.seed
        measured = coverages.measure(refit, table.y, coverage, seed) if refit else None
    return Fitted(
        table=table,
        leaderboard=leaderboard,
        served=serve(table, leaderboard.chosen, half_width),
        half_width=half_width,
        coverage=coverage,
        measured_coverage=measured,
    )


def serve(table: Table, candidate: select.Candidate, half_width: Floats) -> ServedModel:
    """Wrap a candidate's core so that it takes and gives the table's units."""
    return wrap(table, candidate.core, half_width)


def wrap(table: Table, core: nn.Sequential, half_width: Floats) -> ServedModel:
    """Return the module from raw features to raw numbers, or to the probabilities of a label."""
    inputs = Scaling.of(table.x)
    served: ServedModel
    if any(table.classes):
        served = Classifier(core, inputs=inputs)
    else:
        outputs = Scaling.of(table.y)
        served = Served(core, inputs=inputs, outputs=outputs, half_width=half_width)
    served.eval()
    return served
