"""A peer: what it needs, how it starts, how it is asked; and one while it runs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np

from tests.bench.peers.processes import Tree
from tests.bench.peers.wire import Wire
from tests.support import foreign
from tests.support.environments import environment
from tests.support.foreign import Command
from tests.support.ports import free_port

APPS = Path(__file__).parent / "apps"
ROOT = Path(__file__).parents[3]
# Where those files are that run in the peers' own environments, and what they share.
PYTHONPATH = f"{APPS}{os.pathsep}{foreign.APPS}"
START_TIMEOUT_S = 60.0
LOG_TAIL = 3_000


class Left(Exception):  # noqa: N818  it is no error of ours
    """A peer that could not be installed or run, and why."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server finds its model, may write, and is to listen."""

    model: Path
    folder: Path
    port: int

    def repository(self) -> Path:
        """Return a repository with the model as version 1 of "m", made now unless it is there."""
        repository = self.folder / "models"
        version = repository / "m" / "1"
        version.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.model, version / "model.onnx")
        return repository


@dataclass(frozen=True, slots=True)
class Peer:
    """One server with one choice of settings; peers of one family differ in settings alone."""

    name: str
    family: str
    settings: str
    wire: Wire
    environment: str
    requirements: tuple[str, ...]
    command: Callable[[Place], Command]
    # The distribution whose version is printed.
    distribution: str
    # Whether it runs every cell, or only those that are for everybody.
    everything: bool = False
    # Seconds after its first answer in which it may still close connections.
    settle_s: float = 0.0

    def python(self) -> Path:
        """Return the Python of its environment, made now unless it is there."""
        return environment(self.environment, *self.requirements)

    def url(self, port: int) -> str:
        """Return where it is asked."""
        return f"http://127.0.0.1:{port}{self.wire.path}"


@dataclass(frozen=True, slots=True)
class Running:
    """A server that has given its first right answer."""

    url: str
    tree: Tree
    start_s: float


def app(name: str, environment_name: str, **variables: str) -> Callable[[Place], Command]:
    """Return how to start a file of `apps` in an environment."""

    def command(place: Place) -> Command:
        python = ROOT / "build" / "environments" / environment_name / "bin" / "python"
        return Command([python, APPS / f"{name}.py"], app_variables(place, **variables))

    return command


def app_variables(place: Place, **variables: str) -> dict[str, str]:
    """Return what the files of `apps` read."""
    return {
        "MODEL_FILE": str(place.model),
        "PORT": str(place.port),
        "SCRATCH": str(place.folder),
        "PYTHONPATH": f"{PYTHONPATH}{os.pathsep}{ROOT / 'proto'}",
        **variables,
    }


@contextmanager
def running(peer: Peer, place: Place, x: np.ndarray, y: np.ndarray) -> Iterator[Running]:
    """Run a server from its first right answer to x until the block ends."""
    command = peer.command(place)
    log = place.folder / "log"
    # What this process was started with is not for the peers.
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    with log.open("wb") as output:
        begin = time.monotonic()
        process = subprocess.Popen(
            command.line,
            cwd=place.folder,
            env=clean | dict(command.variables),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    tree = Tree(process)
    try:
        body, url = peer.wire.encode(x), peer.url(place.port)
        answer = first_answer(peer, place.port, process, body)
        seconds = time.monotonic() - begin
        if answer is None:
            raise Left(f"it did not answer:\n{log.read_text(errors='replace')[-LOG_TAIL:]}")
        np.testing.assert_allclose(peer.wire.decode(answer), y, rtol=1e-4, atol=1e-5)
        time.sleep(peer.settle_s)
        yield Running(url, tree, seconds)
    finally:
        tree.end()


def first_answer(
    peer: Peer, port: int, process: subprocess.Popen[bytes], body: bytes
) -> bytes | None:
    """Ask until there is an answer; None when the server ends or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return peer.wire.ask(peer.url(port), body)
        except (OSError, grpc.RpcError):
            time.sleep(0.01)
    return None


def other_port() -> str:
    """Return a free port for what a server opens besides."""
    return str(free_port())
