"""Sampling: what to try next, and which trials to give up, by Optuna.

Optuna's study lives in memory; `record` is what lasts. The sampler of a trial is seeded by the
trial's place in the study, so what it draws depends on the trials before it and on nothing else: a
search that was interrupted goes on as if it had not been, where one trial runs at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from isotherm.trainer.tune.config import Range, Scalar
from isotherm.trainer.tune.record import INDEX
from isotherm.trainer.tune.space import Dimension, Parameters
from isotherm.trainer.tune.trial import RUNGS, Outcome, State, Tried

# Before so many trials have ended there is no median to compare with, nor in the first steps.
_UNPRUNED_TRIALS: Final = 5
_UNPRUNED_STEPS: Final = RUNGS // 4

# Importance compares the best tenth with the rest.
_TELLING: Final = 20

# Under which a trial keeps what Optuna has no place for.
STATE, REASON, SIZE, SECONDS = "state", "reason", "parameters", "seconds"


class Sampler:
    """The trials so far, and what follows from them."""

    def __init__(
        self,
        dimensions: Mapping[str, Dimension],
        *,
        seed: int,
        prune: bool,
        ended: Iterable[FrozenTrial],
    ) -> None:
        self._distributions = {name: _distribution(one) for name, one in dimensions.items()}
        self._seed = seed
        pruner = optuna.pruners.MedianPruner(
            n_startup_trials=_UNPRUNED_TRIALS, n_warmup_steps=_UNPRUNED_STEPS
        )
        self._study = optuna.create_study(pruner=pruner if prune else optuna.pruners.NopPruner())
        self._study.add_trials(ended)
        self._trials: dict[int, Trial] = {}
        self._losses: dict[int, dict[int, float]] = {}

    def suggest(self, index: int) -> dict[str, Scalar]:
        """Return the parameters of a trial that begins."""
        seed = int(np.random.SeedSequence([self._seed, index]).generate_state(1)[0])
        self._study.sampler = optuna.samplers.TPESampler(seed=seed)
        trial = self._study.ask(self._distributions)
        self._trials[index] = trial
        return dict(trial.params)

    def resume(self, index: int, parameters: Parameters) -> None:
        """Take a trial that begins again."""
        self._study.enqueue_trial(dict(parameters))
        self._trials[index] = self._study.ask(self._distributions)

    def goes_on(self, index: int, step: int, loss: float) -> bool:
        """Whether a trial that stands so at a step is worth its time."""
        losses = self._losses.setdefault(index, {})
        # A trial whose process was killed tells again what it has told.
        if step in losses:
            return True
        losses[step] = loss
        trial = self._trials[index]
        trial.report(loss, step)
        return not trial.should_prune()

    def end(self, index: int, outcome: Outcome) -> FrozenTrial:
        """Take what a trial came to; return it as it is to be kept."""
        trial = self._trials.pop(index)
        state = {State.COMPLETE: TrialState.COMPLETE, State.FAILED: TrialState.FAIL}.get(
            outcome.state, TrialState.PRUNED
        )
        self._study.tell(trial, outcome.error, state=state)
        # Local time without a zone, as Optuna's own.
        ended = datetime.now()
        kept = create_trial(
            state=state,
            value=outcome.error,
            params=trial.params,
            distributions=self._distributions,
            intermediate_values=self._losses.pop(index, {}),
            user_attrs={
                INDEX: index,
                STATE: str(outcome.state),
                REASON: outcome.reason,
                SIZE: outcome.parameters,
                SECONDS: outcome.seconds,
            },
        )
        kept.datetime_start = ended - timedelta(seconds=outcome.seconds)
        kept.datetime_complete = ended
        return kept


def tried(trial: FrozenTrial) -> Tried:
    """Return a kept trial without Optuna's types."""
    kept, began = trial.user_attrs, trial.datetime_start
    outcome = Outcome(
        state=State(kept[STATE]),
        error=trial.value,
        parameters=kept[SIZE],
        seconds=kept[SECONDS],
        reason=kept[REASON],
    )
    return Tried(
        index=kept[INDEX],
        parameters=trial.params,
        outcome=outcome,
        losses=trial.intermediate_values,
        started=began.timestamp() if began else 0.0,
    )


def importance(trials: Iterable[FrozenTrial]) -> dict[str, float]:
    """Return the share that each parameter has in being among the best, largest first.

    Of few trials it cannot be told, and the answer is empty.
    """
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    if len(complete) < _TELLING:
        return {}
    study = optuna.create_study()
    study.add_trials(complete)
    try:
        return optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
        )
    # All have the same error.
    except (RuntimeError, ValueError):
        return {}


def _distribution(dimension: Dimension) -> BaseDistribution:
    if not isinstance(dimension, Range):
        return CategoricalDistribution(dimension)
    if dimension.whole:
        return IntDistribution(
            int(dimension.low),
            int(dimension.high),
            log=dimension.log,
            step=int(dimension.step or 1),
        )
    step: Any = dimension.step
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=step)
