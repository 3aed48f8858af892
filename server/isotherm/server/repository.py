"""The model repository: which models and versions lie on disk, and what became of them here.

`folders` knows the layout, which is Triton's; versions are positive integers.

A change has two halves. `prepare` reads and loads on any thread, and touches nothing that serves.
`commit` puts the outcome in place at once, on the loop's thread. Where a version could not be
loaded, what served before goes on serving.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from isotherm.server import model_config
from isotherm.server.errors import (
    InvalidRequestError,
    LoadError,
    NotFoundError,
    RepositoryError,
    UnavailableError,
)
from isotherm.server.folders import Folders, ModelFolder
from isotherm.server.layout import ModelState
from isotherm.server.loader import Loader, Model
from isotherm.server.model_config import CONFIG_FILE, ModelSettings

_log = logging.getLogger(__name__)

UNLOADED: Final = "unloaded"

_VERSION: Final = re.compile(r"[0-9]{1,18}")

# What tells that a file is another one than before: time, size, inode; of model and configuration.
Fingerprint = tuple[tuple[int, int, int] | None, ...]


@dataclass(slots=True, eq=False)
class Entry:
    """A version that was chosen to serve: its state, why it is in it, and the model once loaded."""

    name: str
    version: int
    state: ModelState = ModelState.LOADING
    reason: str = ""
    model: Model | None = None
    fingerprint: Fingerprint = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `commit` will put in place for one model."""

    name: str
    entries: tuple[Entry, ...]

    @property
    def failures(self) -> list[str]:
        """Why versions could not be loaded."""
        return [entry.reason for entry in self.entries if entry.reason]


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit did: versions that serve from now on, and versions that no longer do."""

    name: str
    entries: tuple[Entry, ...] = ()
    added: tuple[Model, ...] = ()
    removed: tuple[Model, ...] = ()
    # Entries that were loaded for this change, or could not be.
    tried: tuple[Entry, ...] = ()
    # Whether anything is another than before.
    changed: bool = True


class Repository:
    """The versions of a repository folder that serve, by each model's version policy."""

    def __init__(
        self, folder: Path, defaults: ModelSettings | None = None, model_name: str | None = None
    ) -> None:
        """Models are served by `defaults` where no file beside them says otherwise.

        With `model_name` the folder may be one model instead of a repository.
        """
        self._folders = Folders(folder, model_name)
        self._model_name = model_name
        self._defaults = defaults or ModelSettings()
        self._entries: dict[str, dict[int, Entry]] = {}
        # Models without which the server is not ready: those of the start, and those that have
        # served since. One that comes later and is no good takes nothing away.
        self._required: set[str] = set()

    def wait(self, timeout_s: float) -> None:
        """Return when the folder is there, or the time has passed."""
        self._folders.wait(timeout_s)

    def load(
        self,
        loader: Loader,
        names: list[str] | None = None,
        before: Mapping[str, Collection[int]] | None = None,
    ) -> Iterator[Entry]:
        """Load the models at start, yielding each entry once it is READY or UNAVAILABLE.

        `before` are the versions that a process before this one had loaded: where the ones chosen
        today cannot be, the newest of those serves on.

        Raises RepositoryError when the folder holds no model at all, or not one that was named.
        """
        folder = self._folders.root
        found = self.names()
        if names is None and not found:
            msg = f"the model repository {folder} holds no {self._folders.expected}"
            raise RepositoryError(msg)
        if self._model_name is not None and found != [self._model_name]:
            _log.info("%s is a repository: its models keep their names", folder)
        for name in found if names is None else names:
            if name not in found:
                msg = f"model '{name}' is not in the repository {folder}"
                raise RepositoryError(msg)
            former = before.get(name, ()) if before else ()
            try:
                prepared = self.prepare(name, loader, former=former)
            except NotFoundError as error:
                raise RepositoryError(str(error)) from error
            if not before or former:
                self._required.add(name)
            yield from self.commit(prepared).entries

    def names(self) -> list[str]:
        """Return the models that lie in the folder now; raise RepositoryError without a folder."""
        return self._folders.names()

    def prepare(
        self, name: str, loader: Loader, *, retry: bool = False, former: Collection[int] = ()
    ) -> Prepared:
        """Load what is new on disk of one model; keep what is loaded and unchanged.

        With `retry`, a file that could not be loaded is tried again although it has not changed.
        Where no chosen version can be loaded, the `former` ones are tried, from the newest on.

        Raises NotFoundError when the model has no version on disk.
        """
        found = self._folders.find(name)
        if found is None or not found.versions:
            msg = f"failed to load '{name}': no version of it is in the model repository"
            raise NotFoundError(msg)
        try:
            defaults = replace(self._defaults, file_name=found.file_name)
            settings = model_config.read(found.path, name, defaults)
        except LoadError as error:
            newest = max(found.versions)
            known = self._entries.get(name, {}).get(newest)
            if known is not None and known.reason == str(error) and not retry:
                return Prepared(name, (known,))
            failed = Entry(name, newest, ModelState.UNAVAILABLE, str(error))
            return Prepared(name, (failed,))
        versions = {n for n, at in found.versions.items() if (at / settings.file_name).is_file()}
        if not versions:
            msg = f"failed to load '{name}': no version of it holds {settings.file_name}"
            raise NotFoundError(msg)
        entries = [
            self._entry(found, version, settings, loader, retry=retry)
            for version in settings.choose(versions)
        ]
        tried = {entry.version for entry in entries}
        for version in sorted(versions.intersection(former) - tried, reverse=True):
            if any(entry.model is not None for entry in entries):
                break
            entries.append(self._entry(found, version, settings, loader, retry=retry))
        return Prepared(name, tuple(entries))

    def commit(self, prepared: Prepared) -> Change:
        """Let the prepared versions serve, and retire those that were not chosen again.

        A version that failed takes nothing away: its predecessor, or its own former self, goes on.
        """
        before = self._entries.get(prepared.name, {})
        failed = bool(prepared.failures)
        entries = {entry.version: entry for entry in prepared.entries}
        for version, old in before.items():
            new = entries.get(version)
            if new is None:
                if failed and old.model is not None:
                    entries[version] = old
            elif new.model is None and old.model is not None:
                new.model, new.state = old.model, ModelState.READY
        self._entries[prepared.name] = entries
        if self._serves(prepared.name):
            self._required.add(prepared.name)
        return self._change(prepared.name, before, entries)

    def unload(self, name: str) -> Change:
        """Retire every version of a model. It stays known, as unloaded."""
        self._required.discard(name)
        before = self._entries.get(name, {})
        if all(entry.reason == UNLOADED for entry in before.values()):
            return Change(name, tuple(before.values()), changed=False)
        entries = {
            version: Entry(name, version, ModelState.UNAVAILABLE, UNLOADED) for version in before
        }
        if name in self._entries:
            self._entries[name] = entries
        return self._change(name, before, entries)

    @property
    def ready(self) -> bool:
        """Whether every model that should serve does, in one version at least."""
        return all(map(self._serves, self._required))

    def is_optional(self, entry: Entry) -> bool:
        """Tell whether the server is ready although a version does not serve."""
        served = entry.model is not None
        return not served and (entry.name not in self._required or self._serves(entry.name))

    def entries(self) -> Iterator[Entry]:
        """Yield every chosen version."""
        for versions in self._entries.values():
            yield from versions.values()

    def find(self, name: str, version: str) -> Entry:
        """Return the version asked for; "" means the newest that serves.

        Raises InvalidRequestError for what is no version, else NotFoundError.
        """
        number = _parse_version(name, version) if version else None
        versions = self._entries.get(name)
        if not versions:
            msg = f"Request for unknown model: '{name}' is not found"
            raise NotFoundError(msg)
        if number is None:
            serving = [number for number, entry in versions.items() if entry.model is not None]
            return versions[max(serving or versions)]
        entry = versions.get(number)
        if entry is None:
            served = ", ".join(map(str, sorted(versions)))
            msg = (
                f"Request for unknown model: '{name}' version {version} is not found, "
                f"served: {served}"
            )
            raise NotFoundError(msg)
        return entry

    def get(self, name: str, version: str) -> Model:
        """Return a version that serves; raise UnavailableError while it does not."""
        entry = self.find(name, version)
        if entry.model is None:
            msg = f"'{name}' version {entry.version} is not at ready state: {entry.reason}"
            raise UnavailableError(msg)
        return entry.model

    def _serves(self, name: str) -> bool:
        versions = self._entries.get(name, {})
        return any(entry.model is not None for entry in versions.values())

    def _entry(
        self,
        model: ModelFolder,
        version: int,
        settings: ModelSettings,
        loader: Loader,
        *,
        retry: bool,
    ) -> Entry:
        name = model.name
        path = model.versions[version] / settings.file_name
        fingerprint = _fingerprint(path), _fingerprint(model.path / CONFIG_FILE)
        known = self._entries.get(name, {}).get(version)
        if known is not None and known.fingerprint == fingerprint:
            tried = known.model is None or bool(known.reason)
            if not (tried and retry):
                return known
        entry = Entry(name, version, fingerprint=fingerprint)
        try:
            entry.model = loader.load(name, version, path, settings)
            entry.state = ModelState.READY
        except LoadError as error:
            entry.state = ModelState.UNAVAILABLE
            entry.reason = str(error)
        return entry

    def _change(self, name: str, before: Mapping[int, Entry], after: Mapping[int, Entry]) -> Change:
        known = list(before.values())
        old = {entry.model for entry in known if entry.model is not None}
        new = {entry.model for entry in after.values() if entry.model is not None}
        return Change(
            name,
            entries=tuple(after.values()),
            added=tuple(model for model in new if model not in old),
            removed=tuple(model for model in old if model not in new),
            tried=tuple(e for e in after.values() if e not in known and e.reason != UNLOADED),
            changed=known != list(after.values()),
        )


def _fingerprint(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _parse_version(name: str, version: str) -> int:
    # int() would also take other scripts' digits, blanks and underscores.
    if not _VERSION.fullmatch(version):
        msg = f"'{version}' is not a version of model '{name}': expected a positive integer"
        raise InvalidRequestError(msg)
    return int(version)
