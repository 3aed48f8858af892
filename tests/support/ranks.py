"""Processes that train together, each started with the variables that torchrun would set."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import free_port
from tests.support.processes import children

ROOT = Path(__file__).parents[2]
# Together they are slow to start: each imports torch.
TIMEOUT_S = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a process ended, and what it printed."""

    status: int
    stdout: str
    stderr: str


def variables(rank: int, size: int, port: int) -> dict[str, str]:
    """Return what torchrun sets, on one machine."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def environment(**changes: str) -> dict[str, str]:
    """Return an environment in which several processes share the processors."""
    paths = [ROOT, *(ROOT / part for part in ("client", "proto", "server", "trainer"))]
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        **changes,
    }


@contextmanager
def started(
    arguments: list[str], size: int, changes: Mapping[str, str] | None = None
) -> Iterator[list[subprocess.Popen[str]]]:
    """Start a program of this Python `size` times; end what is left of it."""
    port = free_port()
    processes = [
        subprocess.Popen(
            [sys.executable, *arguments],
            env=environment(**variables(rank, size, port), **(changes or {})),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def ended(processes: list[subprocess.Popen[str]]) -> list[Ended]:
    """Wait for all of them."""
    outputs = [process.communicate(timeout=TIMEOUT_S) for process in processes]
    return [
        Ended(status=process.returncode, stdout=stdout, stderr=stderr)
        for process, (stdout, stderr) in zip(processes, outputs, strict=True)
    ]


def run(command: list[str], **changes: str) -> Ended:
    """Run a command that starts ranks by itself."""
    result = subprocess.run(
        command,
        env=environment(**changes),
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    return Ended(status=result.returncode, stdout=result.stdout, stderr=result.stderr)


def kill(launcher: int, rank: int, checkpoints: Path) -> None:
    """Kill a rank that torchrun has started, when there is something to go on from."""
    deadline = time.monotonic() + TIMEOUT_S
    # Not one that is still being written, whose name begins with a dot.
    while not any(checkpoints.glob("[!.]*.checkpoint")):
        assert time.monotonic() < deadline, "no checkpoint"
        time.sleep(0.002)
    (victim,) = (child for child in children(launcher) if variable(child, "RANK") == str(rank))
    os.kill(victim, signal.SIGKILL)


def variable(process: int, name: str) -> str:
    """A variable of a process, empty where it is not set."""
    entries = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    return dict(entry.partition("=")[::2] for entry in entries).get(name, "")
