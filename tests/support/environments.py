"""Environments of their own, for other versions and other clients than the suite's."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "environments"
INSTALL_TIMEOUT_S = 600
# One installation for all tests that need Node.js.
NODE_PACKAGES = (
    "@bufbuild/buf@1.75.0",
    "@grpc/grpc-js@1.14.0",
    "@grpc/proto-loader@0.8.0",
    "dclint@3.1.0",
)


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Keep every other process from making the same: modules of tests run side by side."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def environment(name: str, *requirements: str) -> Path:
    """Return the Python of an environment with the requirements, made now unless it is there."""
    folder = FOLDER / name
    stamp = folder / "requirements"
    wanted = "\n".join(requirements)
    python = folder / "bin" / "python"
    with locked(name):
        if stamp.exists() and stamp.read_text() == wanted:
            return python
        # This environment's pip installs there too, so it needs none of its own.
        subprocess.run(
            [sys.executable, "-m", "venv", "--clear", "--without-pip", folder],
            check=True,
            timeout=INSTALL_TIMEOUT_S,
        )
        if requirements:
            install(python, *requirements)
        stamp.write_text(wanted)
    return python


def beside(name: str, *requirements: str) -> Path:
    """Return a folder with packages to be added to this environment by PYTHONPATH.

    Seconds cheaper than an environment of its own, where it may share what is installed here.
    """
    folder = FOLDER / name
    stamp = folder / "requirements"
    wanted = "\n".join(requirements)
    with locked(name):
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            install(Path(sys.executable), "--target", str(folder), *requirements)
            stamp.write_text(wanted)
    return folder


def node_modules() -> Path:
    """Return the folder with the packages of npm."""
    folder = FOLDER / "javascript"
    stamp = folder / "requirements"
    wanted = "\n".join(NODE_PACKAGES)
    with locked("javascript"):
        if not stamp.exists() or stamp.read_text() != wanted:
            folder.mkdir(exist_ok=True)
            subprocess.run(
                ["npm", "install", "--no-save", "--silent", *NODE_PACKAGES],
                cwd=folder,
                check=True,
                timeout=INSTALL_TIMEOUT_S,
            )
            stamp.write_text(wanted)
    return folder / "node_modules"


def install(python: Path, *arguments: str) -> None:
    """Install into an environment; a test imports little of it, so that is compiled when needed."""
    pip(python, "install", "--no-compile", *arguments)


def pip(python: Path, *arguments: str) -> str:
    """Run this environment's pip on another one; return what it printed, or raise with it."""
    options = ("--quiet", "--disable-pip-version-check", "--python", str(python))
    result = subprocess.run(
        [sys.executable, "-m", "pip", *options, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=INSTALL_TIMEOUT_S,
    )
    assert result.returncode == 0, f"pip {' '.join(arguments)}:\n{result.stdout}{result.stderr}"
    return result.stdout


def run(python: Path, *arguments: str, timeout_s: float = 300) -> str:
    """Run a program of an environment, away from this one's settings; return its output."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    result = subprocess.run(
        [python, *arguments],
        cwd=ROOT,
        env=clean,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout
