"""A server of others in a process of its own, on loopback, until a block ends."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from isotherm.v1 import open_inference_pb2 as pb
from tests.support.rpc import call
from tests.support.server import eventually

# What runs inside those servers that are written in Python.
APPS = Path(__file__).parent / "apps"
ONNXRUNTIME = "onnxruntime==1.32.0"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Command:
    """How a server is started: its command line, and its variables beside this process's."""

    line: list[str | Path]
    variables: Mapping[str, str]


@contextmanager
def running(command: Command, folder: Path, port: int) -> Iterator[int]:
    """Run a server; yield its pid once ServerReady says yes. Its log goes into the folder."""
    log = folder / "log"
    # What this process was started with is not for others.
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command.line,
            cwd=folder,
            env=clean | dict(command.variables),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually(lambda: process.poll() is not None or _ready(port), START_TIMEOUT_S)
        assert _ready(port), f"{command.line[0]} is not ready:\n{log.read_text(errors='replace')}"
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(port: int) -> bool:
    # A pool of its own: no back-off from an attempt at a server that was not there yet.
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        try:
            return bool(call(channel, "ServerReady", pb.ServerReadyRequest(), timeout=1).ready)
        except grpc.RpcError:
            return False
