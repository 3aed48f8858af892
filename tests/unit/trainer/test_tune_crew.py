"""Tests of the worker processes: any of them may be killed, and no trial is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from isotherm.trainer.config import TrainConfig, load
from isotherm.trainer.data import Table
from isotherm.trainer.errors import LayerError
from isotherm.trainer.tune.crew import Crew, End, Event, Report, Restart
from isotherm.trainer.tune.trial import State

# Each process imports torch.
pytestmark = pytest.mark.slow


def configured(**settings: object) -> TrainConfig:
    return load(None, {"data.dataset": "thermometer", "fit.epochs": 40, **settings})


def answered(crew: Crew) -> Iterator[Event]:
    """Yield what happens until no trial runs; let all go on."""
    while crew.busy:
        for event in crew.events():
            yield event
            if isinstance(event, Report):
                crew.answer(event.index, goes_on=True)


def test_a_trial_whose_process_is_killed_runs_again_and_comes_to_the_same(
    thermometer: Table,
) -> None:
    """The others go on beside it; a second trial in the same process is as good as the first."""
    found: dict[str, dict[int, float | None]] = {}
    for name in ("killed", "left alone"):
        with Crew(thermometer, jobs=2) as crew:
            for index, rate in enumerate((0.01, 0.02)):
                crew.start(index, configured(**{"fit.learning_rate": rate}))
            killed, ends = name == "left alone", {}
            for event in answered(crew):
                if isinstance(event, Report) and event.index == 1 and not killed:
                    os.kill(crew.processes[1], signal.SIGKILL)
                    killed = True
                if isinstance(event, End):
                    ends[event.index] = event.outcome.error
                    if event.index == 0:
                        crew.start(2, configured(**{"fit.learning_rate": 0.03}))
            found[name] = ends

    assert {*found["killed"]} == {0, 1, 2}
    assert None not in found["killed"].values()
    assert found["killed"] == found["left alone"]


def test_a_trial_that_kills_its_process_again_and_again_fails(thermometer: Table) -> None:
    """It would do so for ever; the search goes on without it."""
    with Crew(thermometer, jobs=1) as crew:
        crew.start(0, configured())
        seen = []
        for event in answered(crew):
            seen.append(type(event))
            if isinstance(event, Report):
                os.kill(crew.processes[0], signal.SIGKILL)
            last = event
        crew.start(1, configured())
        (*_, after) = answered(crew)

    assert seen.count(Restart) == 2
    assert isinstance(last, End)
    assert last.outcome.state is State.FAILED
    assert last.outcome.reason == "its process died 3 times, the last time with status -9"
    assert isinstance(after, End)
    assert after.outcome.state is State.COMPLETE


def test_what_is_wrong_with_every_trial_ends_the_search(thermometer: Table) -> None:
    """As the error that it is, though it comes from another process."""
    with Crew(thermometer, jobs=1) as crew:
        crew.start(0, configured(**{"network.layers": ["Linear(2, 1)"]}))
        with pytest.raises(LayerError, match="takes 2 numbers"):
            [*answered(crew)]


def test_leaving_the_crew_ends_its_processes(thermometer: Table) -> None:
    """Also in the middle of a trial."""
    with Crew(thermometer, jobs=2) as crew:
        for index in range(2):
            crew.start(index, configured(**{"fit.epochs": 10_000}))
        next(crew.events())
        processes = crew.processes

    assert len(processes) == 2
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
