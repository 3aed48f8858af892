"""Where models lie on disk: in a repository of many, or in a folder that is one.

A repository has Triton's layout, `<model>/<version>/model.onnx`. A folder that is one model has no
name of its own, so it is given one: in it lies `model.onnx`, another file `.onnx`, or
`<version>/model.onnx`. That is what KServe mounts.
"""

from __future__ import annotations

import logging
import re
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from isotherm.server.config import is_name
from isotherm.server.errors import RepositoryError
from isotherm.server.model_config import MODEL_FILE

_log = logging.getLogger(__name__)

_LOOK_EVERY_S: Final = 0.1
_MODELS: Final = "*.onnx"
_VERSION_FOLDER: Final = re.compile(r"[1-9][0-9]{0,17}")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """One model on disk: `path` has its `config.pbtxt`, and each version's folder its file."""

    name: str
    path: Path
    versions: Mapping[int, Path]
    # What the file is called where the configuration does not say.
    file_name: str = MODEL_FILE


class Folders:
    """The models of a repository, or with a name, the one model that the folder itself is.

    A name changes nothing about a repository: its models keep theirs.
    """

    def __init__(self, root: Path, model_name: str | None = None) -> None:
        self.root = root
        self._model_name = model_name
        self.expected = f"<model>/<version>/{MODEL_FILE}"
        if model_name is not None:
            self.expected = f"{MODEL_FILE}, <version>/{MODEL_FILE} or {self.expected}"

    def wait(self, timeout_s: float) -> None:
        """Return when the folder is there, or the time has passed: others may mount it."""
        deadline = time.monotonic() + timeout_s
        if timeout_s and _unusable(self.root):
            _log.info("waiting up to %g s for the folder %s", timeout_s, self.root)
        while _unusable(self.root) and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S)

    def names(self) -> list[str]:
        """Return the models that lie in the folder now; raise RepositoryError without a folder.

        Hidden folders are passed over: publishers build new versions in them.
        """
        reason = _unusable(self.root)
        if reason:
            msg = f"the model repository {self.root} is {reason}; expected a folder of "
            raise RepositoryError(msg + self.expected)
        try:
            one = self._one()
            return self._many() if one is None else [one.name]
        except OSError as error:
            msg = f"the model repository {self.root} cannot be read: {error}"
            raise RepositoryError(msg) from error

    def find(self, name: str) -> ModelFolder | None:
        """Return what is there of a model; None where that is nothing."""
        if _unusable(self.root):
            return None
        one = self._one()
        if one is not None:
            return one if one.name == name else None
        folder = self.root / name
        if not is_name(name) or not folder.is_dir():
            return None
        return ModelFolder(name, folder, version_folders(folder))

    def _one(self) -> ModelFolder | None:
        """Return the folder as one model; None where it is a repository."""
        if self._model_name is None:
            return None
        files = sorted(path.name for path in self.root.glob(_MODELS))
        versions = {n: at for n, at in version_folders(self.root).items() if _holds_model(at)}
        if files and versions:
            msg = (
                f"the model folder {self.root} holds both {files[0]} and version {min(versions)}: "
                "leave one of them"
            )
            raise RepositoryError(msg)
        if versions:
            return ModelFolder(self._model_name, self.root, versions)
        if files:
            # Of several, the configuration may name another one.
            file_name = files[0] if len(files) == 1 else MODEL_FILE
            return ModelFolder(self._model_name, self.root, {1: self.root}, file_name)
        return None

    def _many(self) -> list[str]:
        found = []
        for model in sorted(self.root.iterdir()):
            if model.is_dir() and not model.name.startswith("."):
                if any(map(_holds_model, version_folders(model).values())):
                    found.append(model.name)
                else:
                    _log.warning("ignoring %s: it holds no <version>/%s", model, MODEL_FILE)
        return found


def version_folders(model: Path) -> dict[int, Path]:
    """Return the version folders of a model: positive integers, written plainly."""
    return {
        int(folder.name): folder
        for folder in model.iterdir()
        if _VERSION_FOLDER.fullmatch(folder.name) and folder.is_dir()
    }


def _holds_model(folder: Path) -> bool:
    return next(folder.glob(_MODELS), None) is not None


def _unusable(root: Path) -> str:
    """Return why this is no folder to look into, or nothing."""
    try:
        mode = root.stat().st_mode
    except FileNotFoundError:
        return "not there"
    except OSError as error:
        return f"not readable ({error.strerror})"
    return "" if stat.S_ISDIR(mode) else "not a folder"
