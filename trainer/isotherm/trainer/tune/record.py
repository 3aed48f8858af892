"""The record: a study on disk, in Optuna's own tables of a SQLite file.

What has ended is one transaction each; what has begun is a list beside it, written before the work
is. So a kill at any moment loses nothing but the work on trials that the next run begins again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from isotherm.trainer.errors import StudyError
from isotherm.trainer.tune.config import Scalar

# Of a trial: its place in the study. Optuna's number is the order in which trials ended.
INDEX: Final = "index"

_STUDY: Final = "isotherm"
_IDENTITY: Final = "identity"
_BEGUN: Final = "begun"
# Seconds to wait for somebody who looks at the file meanwhile, such as optuna-dashboard.
_PATIENCE_S: Final = 60


class Record:
    """The trials of one study; one process at a time has it."""

    def __init__(self, path: Path, identity: Mapping[str, object]) -> None:
        """Open or begin the study.

        Args:
            path: of the file.
            identity: what all runs of the study must share, by dotted name.

        Raises:
            StudyError: the file cannot be used, is in use, or has another study.
        """
        self._path = path
        self._lock = _locked(path)
        self._storage: RDBStorage | None = None
        try:
            if not path.exists():
                _make(path)
            self._storage = _storage(path)
            self._study = _study(self._storage, path)
            self._check(json.loads(json.dumps(identity, sort_keys=True)))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Record:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let another process have the study."""
        if self._storage:
            _close(self._storage)
        os.close(self._lock)

    def ended(self) -> dict[int, FrozenTrial]:
        """Return the trials that have ended, by index."""
        trials = self._study.get_trials(deepcopy=False)
        return {trial.user_attrs[INDEX]: trial for trial in sorted(trials, key=_index)}

    def begun(self) -> dict[int, dict[str, Scalar]]:
        """Return the parameters of trials that have begun and not ended, by index."""
        ended = self.ended()
        found: dict[str, dict[str, Scalar]] = self._study.user_attrs.get(_BEGUN, {})
        return {
            int(index): parameters
            for index, parameters in sorted(found.items(), key=lambda item: int(item[0]))
            if int(index) not in ended
        }

    def begin(self, index: int, parameters: Mapping[str, Scalar]) -> None:
        """Note what a trial is about to try."""
        begun = {str(one): chosen for one, chosen in self.begun().items()}
        self._study.set_user_attr(_BEGUN, begun | {str(index): dict(parameters)})

    def end(self, trial: FrozenTrial) -> None:
        """Keep a trial that has ended, whole or not at all."""
        self._study.add_trial(trial)

    def _check(self, ours: dict[str, Any]) -> None:
        theirs = self._study.user_attrs.get(_IDENTITY)
        if theirs is None:
            self._study.set_user_attr(_IDENTITY, ours)
            return
        for name in sorted({*ours, *theirs}):
            here, there = ours.get(name), theirs.get(name)
            if here != there:
                msg = (
                    f"'{self._path}' is the study of another search: {name} is {there!r} there and "
                    f"{here!r} here; use the same table, space and settings, or another --storage"
                )
                raise StudyError(msg)


def _index(trial: FrozenTrial) -> int:
    index: int = trial.user_attrs[INDEX]
    return index


def _locked(path: Path) -> int:
    """Take the study for this process; the system gives it back however the process ends."""
    beside = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        msg = f"cannot keep the study in '{path}': {error.strerror}; choose another --storage"
        raise StudyError(msg) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        other = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        msg = (
            f"another search (process {other}) works on the study '{path}'; wait for it, or use "
            "--jobs for more processes on one study"
        )
        raise StudyError(msg) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _make(path: Path) -> None:
    """Make a study's tables beside it, so that nobody finds half of them after a kill."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    storage = _storage(new)
    try:
        _study(storage, new)
    finally:
        _close(storage)
    os.replace(new, path)


def _close(storage: RDBStorage) -> None:
    storage.remove_session()
    storage.engine.dispose()


def _storage(path: Path) -> RDBStorage:
    # Its messages are ours to say.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        return RDBStorage(
            f"sqlite:///{path.absolute()}",
            engine_kwargs={"connect_args": {"timeout": _PATIENCE_S}},
        )
    # Whatever a foreign file, or one of another version, provokes in SQLite or in its tables.
    except Exception as error:
        raise _unreadable(path, error) from error


def _study(storage: RDBStorage, path: Path) -> optuna.Study:
    try:
        return optuna.create_study(
            study_name=_STUDY, storage=storage, direction="minimize", load_if_exists=True
        )
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> StudyError:
    text = str(error).partition("\n")[0]
    msg = f"'{path}' is no study that can be read ({text}); remove it, or use another --storage"
    return StudyError(msg)
