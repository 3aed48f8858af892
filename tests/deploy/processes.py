"""Running programs: tools that may be missing, servers waited for and ended, free ports."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import pytest

Result = TypeVar("Result")


def tool(name: str, package: str) -> str:
    """The path of a program that pip does not install.

    Without it the test is skipped on a developer's machine and fails in CI, where `.ci/run`
    promises it.
    """
    path = shutil.which(name)
    if path is None:
        message = f"{name} is not installed: it comes from {package}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


def eventually(
    condition: Callable[[], Result],
    *,
    within_s: float = 30.0,
    every_s: float = 0.05,
    what: str = "the condition",
) -> Result:
    """Ask `condition` until it says something true; what it said is returned.

    A condition that raises OSError (no connection yet) is asked again.
    """
    deadline = time.monotonic() + within_s
    pause = threading.Event()
    said: object = None
    while time.monotonic() < deadline:
        try:
            answer = condition()
        except OSError as error:
            said = error
        else:
            if answer:
                return answer
            said = answer
        pause.wait(every_s)
    pytest.fail(f"{what} did not come true within {within_s:g} s; the last answer was {said!r}")


@contextmanager
def running(
    command: list[str],
    log: Path,
    *,
    grace_s: float = 15.0,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[subprocess.Popen[bytes]]:
    """A process with its output in `log`; ended by SIGTERM, or SIGKILL when that does not help.

    `variables` are added to the environment.
    """
    environment = os.environ | variables
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(grace_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def output(
    command: list[str],
    *,
    cwd: Path | None = None,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """What a command that must succeed printed; its complaint is the failure otherwise.

    `variables` are added to the environment.
    """
    environment = os.environ | variables
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.fail(f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
