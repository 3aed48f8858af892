"""Publishing: a complete version appears in the repository by one rename, or nothing does."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from isotherm.trainer.errors import RepositoryError

MODEL_FILE: Final = "model.onnx"

# With a leading dot, which no model name has: a server passes it over.
_STAGING_PREFIX: Final = ".staging-"


def check_repository(repository: Path) -> None:
    """Raise RepositoryError where `publish` could not work, before anything costly is done."""
    existing = next(path for path in (repository, *repository.absolute().parents) if path.exists())
    if not existing.is_dir():
        msg = f"cannot publish to '{repository}': '{existing}' is a file, expected a folder"
        raise RepositoryError(msg)
    if not os.access(existing, os.W_OK | os.X_OK):
        msg = f"cannot publish to '{repository}': no right to write to '{existing}'"
        raise RepositoryError(msg)


def publish(content: bytes, repository: Path, name: str) -> Path:
    """Write `<repository>/<name>/<next version>/model.onnx` and return its path.

    The version is written and synced under a temporary name and then renamed. A rename fails when
    another publisher has taken the version meanwhile; then the next one is tried.

    Raises:
        RepositoryError: the version cannot be written; nothing of it is left.
    """
    try:
        with _staging(repository) as staging:
            version = _place(staging, content, repository / name)
    except OSError as error:
        msg = f"cannot publish to '{repository}': {error.strerror or error}; nothing was published"
        raise RepositoryError(msg) from error
    return repository / name / str(version) / MODEL_FILE


def _place(staging: Path, content: bytes, model: Path) -> int:
    """Rename the written version into place; return its number."""
    version = 1
    complete = staging / str(version)
    _write(complete, content)
    # A new model appears together with its first version: nobody sees it empty. Renaming onto a
    # folder that is not empty fails.
    if not model.exists() and _renamed(staging, model):
        return version
    while True:
        version = _latest(model) + 1
        if _renamed(complete, model / str(version)):
            return version


def _renamed(source: Path, target: Path) -> bool:
    try:
        source.rename(target)
    except OSError:
        # Anything but a version that somebody else made is a real failure.
        if not target.is_dir():
            raise
        return False
    _sync(target.parent)
    return True


def _latest(model: Path) -> int:
    """Return the highest version, 0 without one; other names in the folder are not versions."""
    names = (path.name for path in model.iterdir())
    return max((int(name) for name in names if name.isascii() and name.isdigit()), default=0)


def _write(folder: Path, content: bytes) -> None:
    folder.mkdir()
    with (folder / MODEL_FILE).open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    _sync(folder)
    _sync(folder.parent)


def _sync(folder: Path) -> None:
    """Make the names in the folder outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _staging(repository: Path) -> Iterator[Path]:
    """Yield a private folder inside the repository, and leave nothing that is not published."""
    created = [path for path in (repository, *repository.parents) if not path.exists()]
    try:
        repository.mkdir(parents=True, exist_ok=True)
        # Inside the repository, because a rename is atomic within one file system only.
        with _temporary_folder(repository) as staging:
            yield staging
    finally:
        for path in created:
            # Fails, as it should, on a folder that holds something: ours, or somebody else's.
            with suppress(OSError):
                path.rmdir()


@contextmanager
def _temporary_folder(parent: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=parent))
    try:
        # mkdtemp makes it private; as a model folder it must be readable to the server's user.
        folder.chmod(parent.stat().st_mode & 0o777)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
