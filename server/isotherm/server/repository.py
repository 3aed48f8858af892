"""The model repository: which models and versions lie on disk, and what became of them here.

The layout is Triton's: `<repository>/<model>/<version>/model.onnx`; versions are positive integers.

A change has two halves. `prepare` reads and loads on any thread, and touches nothing that serves.
`commit` puts the outcome in place at once, on the loop's thread. Where a version could not be
loaded, what served before goes on serving.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
from isotherm.server.layout import ModelState
from isotherm.server.loader import Loader, Model
from isotherm.server.model_config import CONFIG_FILE, MODEL_FILE, ModelSettings

_log = logging.getLogger(__name__)

UNLOADED: Final = "unloaded"

_VERSION_FOLDER: Final = re.compile(r"[1-9][0-9]{0,17}")
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

    def __init__(self, folder: Path, defaults: ModelSettings | None = None) -> None:
        """Models are served by `defaults` where no file beside them says otherwise."""
        self._folder = folder
        self._defaults = defaults or ModelSettings()
        self._entries: dict[str, dict[int, Entry]] = {}

    def load(self, loader: Loader, names: list[str] | None = None) -> Iterator[Entry]:
        """Load the models at start, yielding each entry once it is READY or UNAVAILABLE.

        Raises RepositoryError when the folder holds no model at all, or not one that was named.
        """
        found = self.names()
        if names is None:
            if not found:
                msg = f"the model repository {self._folder} holds no <model>/<version>/{MODEL_FILE}"
                raise RepositoryError(msg)
            names = found
        for name in names:
            if name not in found:
                msg = f"model '{name}' is not in the repository {self._folder}"
                raise RepositoryError(msg)
            yield from self.commit(self.prepare(name, loader)).entries

    def names(self) -> list[str]:
        """Return the models that lie in the folder now; raise RepositoryError without a folder.

        Hidden folders are passed over: publishers build new versions in them.
        """
        folder = self._folder
        if not folder.is_dir():
            kind = "not a folder" if folder.exists() else "not there"
            expected = f"<model>/<version>/{MODEL_FILE}"
            msg = f"the model repository {folder} is {kind}; expected a folder of {expected}"
            raise RepositoryError(msg)
        found = []
        for model in sorted(folder.iterdir()):
            if model.is_dir() and not model.name.startswith("."):
                if any(next(at.glob("*.onnx"), None) for at in version_folders(model).values()):
                    found.append(model.name)
                else:
                    _log.warning("ignoring %s: it holds no <version>/%s", model, MODEL_FILE)
        return found

    def prepare(self, name: str, loader: Loader, *, retry: bool = False) -> Prepared:
        """Load what is new on disk of one model; keep what is loaded and unchanged.

        With `retry`, a file that could not be loaded is tried again although it has not changed.

        Raises NotFoundError when the model has no version on disk.
        """
        folder = self._folder / name
        folders = version_folders(folder) if _is_name(name) and folder.is_dir() else {}
        if not folders:
            msg = f"failed to load '{name}': no version of it is in the model repository"
            raise NotFoundError(msg)
        try:
            settings = model_config.read(folder, self._defaults)
        except LoadError as error:
            newest = max(folders)
            known = self._entries.get(name, {}).get(newest)
            if known is not None and known.reason == str(error) and not retry:
                return Prepared(name, (known,))
            failed = Entry(name, newest, ModelState.UNAVAILABLE, str(error))
            return Prepared(name, (failed,))
        versions = {n: at for n, at in folders.items() if (at / settings.file_name).is_file()}
        if not versions:
            msg = f"failed to load '{name}': no version of it holds {settings.file_name}"
            raise NotFoundError(msg)
        return Prepared(
            name,
            tuple(
                self._entry(name, version, versions[version], settings, loader, retry=retry)
                for version in settings.choose(versions)
            ),
        )

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
        return self._change(prepared.name, before, entries)

    def unload(self, name: str) -> Change:
        """Retire every version of a model. It stays known, as unloaded."""
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
        """Whether every chosen version serves; one that was unloaded on purpose does not count."""
        return all(
            entry.state is ModelState.READY or entry.reason == UNLOADED for entry in self.entries()
        )

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

    def _entry(
        self,
        name: str,
        version: int,
        folder: Path,
        settings: ModelSettings,
        loader: Loader,
        *,
        retry: bool,
    ) -> Entry:
        path = folder / settings.file_name
        fingerprint = _fingerprint(path), _fingerprint(folder.parent / CONFIG_FILE)
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


def version_folders(model: Path) -> dict[int, Path]:
    """Return the version folders of a model: positive integers, written plainly."""
    return {
        int(folder.name): folder
        for folder in model.iterdir()
        if _VERSION_FOLDER.fullmatch(folder.name) and folder.is_dir()
    }


def _is_name(name: str) -> bool:
    # A model's name comes from a caller: it must not lead out of the repository.
    return bool(name) and not name.startswith(".") and Path(name).name == name


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
