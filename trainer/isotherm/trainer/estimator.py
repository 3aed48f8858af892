"""The estimator: a table becomes the served module, and everything that is known about it."""

from __future__ import annotations

from dataclasses import dataclass

from isotherm.trainer import interval, loop, select
from isotherm.trainer.config import TrainConfig
from isotherm.trainer.data import Floats, Table
from isotherm.trainer.features import Scaling, Served


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Fitted:
    """A fitted model.

    Attributes:
        served: the chosen candidate in raw units, with its interval.
        half_width: shape (targets,), in the targets' units.
        coverage: that the interval stands for, 0..1.
    """

    table: Table
    leaderboard: select.Leaderboard
    served: Served
    half_width: Floats
    coverage: float


def fit(table: Table, config: TrainConfig, on_epoch: loop.OnEpoch | None = None) -> Fitted:
    """Compare the candidates and build the served module of the chosen one."""
    leaderboard = select.compare(table, config, on_epoch)
    residuals = leaderboard.chosen.held_out_residuals
    half_width, coverage = interval.half_width(residuals, config.coverage)
    return Fitted(
        table=table,
        leaderboard=leaderboard,
        served=serve(table, leaderboard.chosen, half_width),
        half_width=half_width,
        coverage=coverage,
    )


def serve(table: Table, candidate: select.Candidate, half_width: Floats) -> Served:
    """Wrap a candidate's core so that it takes and gives the table's units."""
    served = Served(
        candidate.core,
        inputs=Scaling.of(table.x),
        outputs=Scaling.of(table.y),
        half_width=half_width,
    )
    served.eval()
    return served
