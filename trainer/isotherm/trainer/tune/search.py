"""The search: trials begin, run and end until the study has as many as it is to have."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from isotherm.trainer.folds import LEAVE_ONE_OUT_ROWS
from isotherm.trainer.tune.config import Scalar, TuneConfig
from isotherm.trainer.tune.crew import Crew, End, Event, Report
from isotherm.trainer.tune.record import Record
from isotherm.trainer.tune.sampling import Sampler, importance, tried
from isotherm.trainer.tune.space import Space
from isotherm.trainer.tune.trial import Tried

# Told the trials so far, the last one to end being last.
OnTrial = Callable[[list[Tried]], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a search found.

    Attributes:
        trials: that have ended, by their place in the study.
        importance: of each parameter, largest first; empty where it cannot be told.
    """

    trials: tuple[Tried, ...]
    importance: dict[str, float]


def run(
    space: Space,
    record: Record,
    *,
    on_trial: OnTrial | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Found:
    """Go on with the study until it has all its trials, or its time is over.

    Args:
        space: to search, with the table and the settings.
        record: of the study.
        on_trial: told of each trial that ends.
        clock: seconds.
    """
    search = _Search(space, record, on_trial)
    limit = space.config.tune.timeout
    deadline = clock() + limit if limit else float("inf")
    if search.wants_more(busy=0):
        with Crew(space.table, space.config.tune.jobs) as crew:
            search.work(crew, lambda: clock() < deadline)
    ended = record.ended()
    return Found(
        trials=tuple(tried(ended[index]) for index in sorted(ended)),
        importance=importance(ended.values()),
    )


def prunes(tune: TuneConfig, rows: int) -> bool:
    """Whether trials may be given up.

    Where one row is left out at a time a trial takes seconds, and its loss after a few epochs says
    little. Where losses of different kinds are searched, they cannot be compared.
    """
    return tune.prune and rows > LEAVE_ONE_OUT_ROWS and "loss" not in tune.space


class _Search:
    def __init__(self, space: Space, record: Record, on_trial: OnTrial | None) -> None:
        self._space, self._record, self._on_trial = space, record, on_trial
        config, kept = space.config, record.ended()
        self._ended = [tried(kept[index]) for index in sorted(kept)]
        # Begun by a run that was interrupted: begun again, with the same parameters.
        self._waiting = record.begun()
        self._next = 1 + max([-1, *kept, *self._waiting])
        self._sampler = Sampler(
            space.dimensions,
            seed=config.fit.seed,
            prune=prunes(config.tune, space.table.rows),
            ended=[kept[index] for index in sorted(kept)],
        )

    def wants_more(self, busy: int) -> bool:
        """Whether one more trial is to begin while `busy` run."""
        return len(self._ended) + busy < self._space.config.tune.trials

    def work(self, crew: Crew, in_time: Callable[[], bool]) -> None:
        """Run trials until no more begin and none runs."""
        while True:
            while crew.idle and self.wants_more(crew.busy) and in_time():
                index, parameters = self._begin()
                crew.start(index, self._space.applied(parameters))
            if not crew.busy:
                return
            for event in crew.events():
                self._take(crew, event)

    def _begin(self) -> tuple[int, dict[str, Scalar]]:
        if self._waiting:
            index = min(self._waiting)
            parameters = self._waiting.pop(index)
            self._sampler.resume(index, parameters)
            return index, parameters
        index, self._next = self._next, self._next + 1
        parameters = self._sampler.suggest(index)
        self._record.begin(index, parameters)
        return index, parameters

    def _take(self, crew: Crew, event: Event) -> None:
        if isinstance(event, Report):
            goes_on = self._sampler.goes_on(event.index, event.step, event.loss)
            crew.answer(event.index, goes_on=goes_on)
        elif isinstance(event, End):
            kept = self._sampler.end(event.index, event.outcome)
            self._record.end(kept)
            self._ended.append(tried(kept))
            if self._on_trial:
                self._on_trial(self._ended)
