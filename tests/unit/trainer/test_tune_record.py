"""Tests of a study's file: what it keeps, for whom, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial

from isotherm.trainer.errors import StudyError
from isotherm.trainer.tune.config import Range
from isotherm.trainer.tune.record import Record
from isotherm.trainer.tune.sampling import Sampler, tried
from isotherm.trainer.tune.trial import Outcome, State

IDENTITY: Mapping[str, object] = {"table.sha256": "abc", "space.rate": {"low": 0.0, "high": 1.0}}


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    return tmp_path / "studies" / "one.db"


def ended(sampler: Sampler, index: int, error: float) -> FrozenTrial:
    sampler.suggest(index)
    sampler.goes_on(index, 1, 2 * error)
    return sampler.end(index, Outcome(state=State.COMPLETE, error=error, seconds=1.5))


@pytest.fixture(name="sampler")
def _sampler() -> Sampler:
    return Sampler({"rate": Range(low=0.0, high=1.0)}, seed=0, prune=False, ended=())


def test_what_was_kept_is_there_again(path: Path, sampler: Sampler) -> None:
    """Trials that ended, whole, in the order in which they began."""
    with Record(path, IDENTITY) as record:
        later, first = ended(sampler, 1, 0.5), ended(sampler, 0, 0.25)
        record.end(later)
        record.end(first)
    with Record(path, IDENTITY) as record:
        found = record.ended()

    assert [*found] == [0, 1]
    assert [tried(found[index]) for index in (0, 1)] == [tried(first), tried(later)]
    assert tried(found[1]).losses == {1: 1.0}


def test_a_trial_that_began_is_known_until_it_ends(path: Path, sampler: Sampler) -> None:
    """With its parameters, to the last bit."""
    with Record(path, IDENTITY) as record:
        record.begin(0, {"rate": 0.1 + 0.2, "kind": "Tanh", "skip": True, "depth": 2})
        record.begin(1, {"rate": 0.5})
    with Record(path, IDENTITY) as record:
        begun = record.begun()
        record.end(ended(sampler, 0, 0.25))
        left = record.begun()

    assert begun[0] == {"rate": 0.1 + 0.2, "kind": "Tanh", "skip": True, "depth": 2}
    assert left == {1: {"rate": 0.5}}


def test_another_search_is_refused_by_what_differs(path: Path) -> None:
    """And nothing of the study is changed."""
    Record(path, IDENTITY).close()
    with pytest.raises(StudyError) as raised:
        Record(path, {**IDENTITY, "table.sha256": "def"})
    Record(path, IDENTITY).close()

    assert "table.sha256 is 'abc' there and 'def' here" in str(raised.value)
    assert str(path) in str(raised.value)


def test_one_process_has_a_study_at_a_time(path: Path) -> None:
    """The other is told which one."""
    with Record(path, IDENTITY), pytest.raises(StudyError, match=r"another search \(process \d+\)"):
        Record(path, IDENTITY)

    Record(path, IDENTITY).close()


def test_a_study_that_was_killed_while_it_was_made_is_made_again(path: Path) -> None:
    """Half of its tables lie beside it, and not in its place."""
    path.parent.mkdir()
    path.with_name(".one.db.new").write_bytes(b"SQLite format 3\0")
    Record(path, IDENTITY).close()

    assert {one.name for one in path.parent.iterdir()} == {"one.db", "one.db.lock"}


def test_a_file_that_is_no_study_is_left_alone(tmp_path: Path) -> None:
    """It may be somebody's data."""
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(StudyError, match="is no study that can be read"):
        Record(path, IDENTITY)

    assert path.read_text() == "a,b\n1,2\n"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """Before anything is searched."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="choose another --storage"):
        Record(tmp_path / "file" / "one.db", IDENTITY)
