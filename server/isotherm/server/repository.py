"""The model repository: which models and versions lie on disk, and what became of them here.

The layout is Triton's: `<repository>/<model>/<version>/model.onnx`; versions are positive integers.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from isotherm.server.errors import (
    InvalidRequestError,
    LoadError,
    NotFoundError,
    RepositoryError,
    UnavailableError,
)
from isotherm.server.layout import ModelState
from isotherm.server.loader import MODEL_FILE, Loader, Model

_log = logging.getLogger(__name__)

_VERSION_FOLDER: Final = re.compile(r"[1-9][0-9]{0,17}")
_VERSION: Final = re.compile(r"[0-9]{1,18}")


@dataclass(slots=True)
class Entry:
    """A version that was chosen to serve: its state, why it is in it, and the model once loaded."""

    name: str
    version: int
    state: ModelState = ModelState.LOADING
    reason: str = ""
    model: Model | None = None


class Repository:
    """The versions of a repository folder that serve: the latest of every model."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries: dict[str, dict[int, Entry]] = {}

    def load(self, loader: Loader) -> Iterator[Entry]:
        """Load every chosen version, yielding each entry once it is READY or UNAVAILABLE.

        Raises RepositoryError when the folder holds no model at all.
        """
        for name, versions in scan(self._folder).items():
            version = max(versions)
            entry = Entry(name, version)
            self._entries.setdefault(name, {})[version] = entry
            try:
                entry.model = loader.load(name, version, versions[version])
                entry.state = ModelState.READY
            except LoadError as error:
                entry.state = ModelState.UNAVAILABLE
                entry.reason = str(error)
            yield entry

    @property
    def ready(self) -> bool:
        """Whether every chosen version is ready."""
        return all(entry.state is ModelState.READY for entry in self.entries())

    def entries(self) -> Iterator[Entry]:
        """Yield every chosen version."""
        for versions in self._entries.values():
            yield from versions.values()

    def find(self, name: str, version: str) -> Entry:
        """Return the version asked for; "" means the newest. Raises NotFoundError."""
        versions = self._entries.get(name)
        if versions is None:
            msg = f"Request for unknown model: '{name}' is not found"
            raise NotFoundError(msg)
        number = max(versions) if version == "" else _parse_version(name, version)
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
        """Return a ready version; raise UnavailableError while it is not."""
        entry = self.find(name, version)
        if entry.model is None:
            msg = f"'{name}' version {entry.version} is not at ready state: {entry.reason}"
            raise UnavailableError(msg)
        return entry.model


def scan(folder: Path) -> dict[str, Mapping[int, Path]]:
    """Return the model files of a repository by name and version.

    Files elsewhere are ignored, and so are hidden folders: publishers build new versions in them.
    """
    if not folder.is_dir():
        kind = "not a folder" if folder.exists() else "not there"
        expected = f"<model>/<version>/{MODEL_FILE}"
        msg = f"the model repository {folder} is {kind}; expected a folder of {expected}"
        raise RepositoryError(msg)
    found = {
        model.name: _versions(model)
        for model in sorted(folder.iterdir())
        if model.is_dir() and not model.name.startswith(".")
    }
    models = {name: versions for name, versions in found.items() if versions}
    if not models:
        msg = f"the model repository {folder} holds no <model>/<version>/{MODEL_FILE}"
        raise RepositoryError(msg)
    for name in found.keys() - models.keys():
        _log.warning("ignoring %s: it holds no <version>/%s", folder / name, MODEL_FILE)
    return models


def _versions(model: Path) -> Mapping[int, Path]:
    return {
        int(folder.name): folder / MODEL_FILE
        for folder in model.iterdir()
        if _VERSION_FOLDER.fullmatch(folder.name) and (folder / MODEL_FILE).is_file()
    }


def _parse_version(name: str, version: str) -> int:
    # int() would also take other scripts' digits, blanks and underscores.
    if not _VERSION.fullmatch(version):
        msg = f"'{version}' is not a version of model '{name}': expected a positive integer"
        raise InvalidRequestError(msg)
    return int(version)
