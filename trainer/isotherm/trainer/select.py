"""The leaderboard: the baselines and the networks on the same folds, and which of them is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from torch import nn

from isotherm.trainer import loop, networks, validation
from isotherm.trainer import objective as objectives
from isotherm.trainer import weights as averages
from isotherm.trainer.baselines import baselines
from isotherm.trainer.candidates import Candidate
from isotherm.trainer.checkpoint import Checkpoints
from isotherm.trainer.config import TrainConfig
from isotherm.trainer.data import Floats, Table
from isotherm.trainer.errors import ConfigError
from isotherm.trainer.folds import Folds, folds
from isotherm.trainer.objective import RMSE
from isotherm.trainer.progress import Watch

__all__ = ["Candidate", "Comparison", "Folds", "Leaderboard", "choose", "compare", "folds", "keep"]

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
        parts: which rows were left out; None: all of them.
        configurations: how many fits were compared, each penalty counted.
        tried: how many of these a search tried before the networks above; 0 without a search.
    """

    method: str
    candidates: tuple[Candidate, ...]
    comparisons: tuple[Comparison, ...]
    kept: str
    chosen: Candidate
    history: loop.History
    metric: str = RMSE
    configurations: int = 0
    parts: Folds | None = None
    tried: int = 0


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
    training = shared(table, config, watch, checkpoints)
    objective = training.objective
    built = _networks(table, config, objective, modules)
    simple = tuple(baselines(table, training.parts, objective))
    fitted = {name: validation.cross_validate(name, net, training) for name, net in built.items()}
    # Sorting is stable: of networks as large as each other, the first named is the simpler one.
    rich = sorted((candidate for candidate, _ in fitted.values()), key=lambda one: one.parameters)
    candidates = (*simple, *rich)
    tested = table.take(training.parts.tested)
    kept, comparisons = keep(candidates, table.spread, tested)
    fits = sum(validation.configurations(network, training) for network in built.values())
    return Leaderboard(
        method=training.parts.method,
        parts=training.parts,
        candidates=candidates,
        comparisons=comparisons,
        kept=kept.name,
        chosen=choose(config.model, candidates, kept),
        history=next(history for _, history in fitted.values()),
        metric=objective.metric,
        configurations=len(simple) + fits,
    )


def shared(
    table: Table,
    config: TrainConfig,
    watch: Watch | None = None,
    checkpoints: Checkpoints | None = None,
) -> validation.Training:
    """Return what all candidates share: the folds and how they are measured; check the settings."""
    networks.check(config.fit, table.rows)
    objective = objectives.of(table, config.fit.loss)
    labels = table.y[:, 0] if objective.classes else None
    return validation.Training(
        table=table,
        parts=folds(table.rows, config.fit.seed, labels, table.split),
        config=config.fit,
        objective=objective,
        watch=watch,
        checkpoints=checkpoints,
    )


def keep(
    candidates: tuple[Candidate, ...], scale: Floats, tested: Table | None = None
) -> tuple[Candidate, tuple[Comparison, ...]]:
    """Go from the simplest to the richest; move on only where the gain convinces.

    Args:
        candidates: the simplest first.
        scale: shape (targets,); makes the errors of several targets comparable.
        tested: the rows that were left out: what each counts, and which stand together. None: all
            alike, each alone.
    """
    kept, comparisons = candidates[0], []
    for richer in candidates[1:]:
        comparisons.append(_compare_pair(kept, richer, scale, tested))
        if comparisons[-1].convinces:
            kept = richer
    return kept, tuple(comparisons)


def _compare_pair(
    simpler: Candidate, richer: Candidate, scale: Floats, tested: Table | None
) -> Comparison:
    weights, keys = (tested.weights, tested.split.together) if tested else (None, None)
    gains = simpler.row_errors(scale) - richer.row_errors(scale)
    return Comparison(
        simpler=simpler.name,
        richer=richer.name,
        gain=float(averages.mean(gains, weights)),
        standard_error=averages.standard_error(gains, weights, keys),
    )


def choose(choice: str, candidates: tuple[Candidate, ...], kept: Candidate) -> Candidate:
    """Return the candidate of that name, or the one that the rule keeps."""
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
