"""Virtual environments of their own, for other versions and other clients than the suite's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
INSTALL_TIMEOUT_S = 600


def environment(name: str, *requirements: str) -> Path:
    """Return the Python of an environment with the requirements, made now unless it is there."""
    folder = ROOT / "build" / "environments" / name
    stamp = folder / "requirements"
    wanted = "\n".join(requirements)
    python = folder / "bin" / "python"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    subprocess.run(
        [sys.executable, "-m", "venv", "--clear", folder], check=True, timeout=INSTALL_TIMEOUT_S
    )
    # The newest pip: the one that comes with Python may not know today's metadata.
    pip(python, "install", "--upgrade", "pip")
    if requirements:
        pip(python, "install", *requirements)
    stamp.write_text(wanted)
    return python


def beside(name: str, *requirements: str) -> Path:
    """Return a folder with packages to be added to this environment by PYTHONPATH.

    Seconds cheaper than an environment of its own, where it may share what is installed here.
    """
    folder = ROOT / "build" / "environments" / name
    stamp = folder / "requirements"
    wanted = "\n".join(requirements)
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        pip(Path(sys.executable), "install", "--target", str(folder), *requirements)
        stamp.write_text(wanted)
    return folder


def pip(python: Path, *arguments: str) -> str:
    """Run pip in an environment; return what it printed, or raise with it."""
    result = subprocess.run(
        [python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments],
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
