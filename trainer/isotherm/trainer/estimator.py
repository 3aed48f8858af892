"""The estimator: a table becomes the served module, and everything that is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from isotherm.trainer import coverage as coverages
from isotherm.trainer import device, interval, precision, select
from isotherm.trainer import objective as objectives
from isotherm.trainer.checkpoint import Checkpoints
from isotherm.trainer.config import TrainConfig
from isotherm.trainer.data import Floats, Table
from isotherm.trainer.encoding import Encoding
from isotherm.trainer.features import Classifier, Served, ServedModel
from isotherm.trainer.progress import Watch
from isotherm.trainer.transform import Outputs


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Fitted:
    """A fitted model.

    Attributes:
        served: the chosen candidate in raw units, with its interval, or with probabilities.
        half_width: shape (targets,), in the targets' units, or on the scales that they are learned
            on; empty for a label.
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
    def tested(self) -> Table:
        """The rows that were left out, in which every candidate is measured."""
        return _tested(self.table, self.leaderboard)

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
    """Compare the candidates and build the served module of the chosen one.

    Raises:
        DeviceMemoryError: the device has no room for it.
    """
    with device.room(), precision.exact():
        return _fit(table, config, watch, modules, checkpoints)


def _fit(
    table: Table,
    config: TrainConfig,
    watch: Watch | None,
    modules: Mapping[str, nn.Module] | None,
    checkpoints: Checkpoints | None,
) -> Fitted:
    leaderboard = select.compare(table, config, watch, modules=modules, checkpoints=checkpoints)
    residuals = leaderboard.chosen.interval_residuals
    if any(table.classes):
        half_width, coverage, measured = residuals[:0, 0], 0.0, None
    else:
        weights = _tested(table, leaderboard).weights
        half_width, coverage = interval.half_width(residuals, config.coverage, weights)
        measured = _measured(table, leaderboard, coverage, config)
    return Fitted(
        table=table,
        leaderboard=leaderboard,
        served=serve(table, leaderboard.chosen, half_width),
        half_width=half_width,
        coverage=coverage,
        measured_coverage=measured,
    )


def _tested(table: Table, board: select.Leaderboard) -> Table:
    return table.take(board.parts.tested) if board.parts else table


def _measured(
    table: Table, board: select.Leaderboard, coverage: float, config: TrainConfig
) -> float | None:
    """Measure the coverage on rows that had no part in model and width."""
    chosen, split = board.chosen, table.split
    if split.kind == "time" and board.parts:
        weights = _tested(table, board).weights
        return coverages.forward(chosen.interval_residuals, board.parts.blocks, coverage, weights)
    if chosen.refit is None:
        return None
    return coverages.measure(
        chosen.refit,
        table.y,
        coverage,
        config.fit.seed,
        learned=objectives.of(table, config.fit.loss).learned,
        weights=table.weights,
        keys=split.together,
    )


def serve(table: Table, candidate: select.Candidate, half_width: Floats) -> ServedModel:
    """Wrap a candidate's core so that it takes and gives the table's units."""
    return wrap(table, candidate.core, half_width)


def wrap(table: Table, core: nn.Sequential, half_width: Floats) -> ServedModel:
    """Return the module from raw features to raw numbers, or to the probabilities of a label."""
    inputs = Encoding.of(table.x, table.features, table.weights)
    served: ServedModel
    if any(table.classes):
        served = Classifier(core, inputs=inputs)
    else:
        names = objectives.of(table).transforms
        outputs = Outputs.of(table.y, names, table.weights)
        served = Served(
            core,
            inputs=inputs,
            outputs=outputs.scaling,
            half_width=half_width,
            transforms=outputs.transforms,
        )
    served.eval()
    return served
