"""The leaderboard: the baselines and the networks on the same folds, and which of them is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from torch import nn

from isotherm.trainer import loop, networks, validation
from isotherm.trainer import objective as objectives
from isotherm.trainer.baselines import baselines
from isotherm.trainer.candidates import Candidate
from isotherm.trainer.checkpoint import Checkpoints
from isotherm.trainer.config import TrainConfig
from isotherm.trainer.data import Floats, Table
from isotherm.trainer.errors import ConfigError
from isotherm.trainer.features import Scaling
from isotherm.trainer.folds import Folds, folds
from isotherm.trainer.objective import RMSE
from isotherm.trainer.progress import Watch

__all__ = ["Candidate", "Comparison", "Folds", "Leaderboard", "compare", "folds", "keep"]

# Many networks beat the line by one standard error on the thermometer, and every one of them is
# further from the truth; two standard errors keep the line there.
STANDARD_ERRORS: Final = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What the richer model gains: error a row, paired by row; of numbers, squared and scaled."""

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
    """The candidates, simplest first, and the two names: kept by the rule, chosen in the end.

    Attributes:
        method: of the cross-validation, such as "leave-one-out".
        history: of the first network.
        metric: of the candidates' errors.
        configurations: how many fits were compared, each penalty counted.
    """

    method: str
    candidates: tuple[Candidate, ...]
    comparisons: tuple[Comparison, ...]
    kept: str
    chosen: Candidate
    history: loop.History
    metric: str = RMSE
    configurations: int = 0


def compare(
    table: Table,
    config: TrainConfig,
    watch: Watch | None = None,
    *,
    modules: Mapping[str, nn.Module] | None = None,
    checkpoints: Checkpoints | None = None,
) -> Leaderboard:
    """Fit and cross-validate every candidate on the same folds; choose one.

    `modules` are networks of the caller's own, by name, in place of the configuration's.
    """
    networks.check(config.fit, table.rows)
    objective = objectives.of(table, config.fit.loss)
    built = _networks(table, config, objective, modules)
    labels = table.y[:, 0] if objective.classes else None
    training = validation.Training(
        table=table,
        parts=folds(table.rows, config.fit.seed, labels),
        config=config.fit,
        objective=objective,
        watch=watch,
        checkpoints=checkpoints,
    )
    simple = tuple(baselines(table, training.parts, objective))
    fitted = {name: validation.cross_validate(name, net, training) for name, net in built.items()}
    # Sorting is stable: of networks as large as each other, the first named is the simpler one.
    rich = sorted((candidate for candidate, _ in fitted.values()), key=lambda one: one.parameters)
    candidates = (*simple, *rich)
    kept, comparisons = keep(candidates, Scaling.of(table.y).scale)
    fits = sum(validation.configurations(network, training) for network in built.values())
    return Leaderboard(
        method=training.parts.method,
        candidates=candidates,
        comparisons=comparisons,
        kept=kept.name,
        chosen=_choose(config.model, candidates, kept),
        history=next(history for _, history in fitted.values()),
        metric=objective.metric,
        configurations=len(simple) + fits,
    )


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
    gains = simpler.row_errors(scale) - richer.row_errors(scale)
    return Comparison(
        simpler=simpler.name,
        richer=richer.name,
        gain=float(gains.mean()),
        standard_error=float(gains.std(ddof=1) / np.sqrt(len(gains))),
    )


def _choose(choice: str, candidates: tuple[Candidate, ...], kept: Candidate) -> Candidate:
    if choice == "auto":
        return kept
    for candidate in candidates:
        if candidate.name == choice:
            return candidate
    names = ", ".join(candidate.name for candidate in candidates)
    msg = f"model is '{choice}', but the leaderboard of this table has {names}"
    raise ConfigError(msg)


def _networks(
    table: Table,
    config: TrainConfig,
    objective: objectives.Objective,
    modules: Mapping[str, nn.Module] | None,
) -> dict[str, nn.Sequential]:
    seed = config.fit.seed
    if modules:
        own = {name: config.candidates.get(name, config.network) for name in modules}
        return {
            name: networks.prepare(module, table, objective, skip=own[name].skip, seed=seed)
            for name, module in modules.items()
        }
    return {
        name: networks.build(one, table, objective, seed) for name, one in config.candidates.items()
    }
