"""A client in a process of its own, as the benchmark sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.clients.callers import Seen
from tests.bench.clients.streams import Passed

ROOT = Path(__file__).parents[3]
STOP_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A client: whose, blocking or on asyncio, and with what that is not its default.

    `variables` are its process's, beyond those of the benchmark.
    """

    library: str
    shell: str
    settings: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)


class Process:
    """A running client."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def one_row(self, callers: int, seconds: float) -> Seen:
        """Have so many callers call for so long."""
        return Seen(**self._work("one_row", callers=callers, seconds=seconds))

    def stream(self, model: str, features: int, rows: int, batch: int) -> Passed:
        """Have so many rows sent through a stream."""
        arguments = {"model": model, "features": features, "rows": rows, "batch": batch}
        return Passed(**self._work("stream", **arguments))

    def _work(self, name: str, **arguments: Any) -> dict[str, Any]:
        given, answers = self.process.stdin, self.process.stdout
        assert given is not None and answers is not None  # noqa: PT018  both are pipes
        given.write(json.dumps([name, arguments]) + "\n")
        given.flush()
        answer = answers.readline()
        if not answer:
            msg = f"the client {self.process.args!r} ended: see its error above"
            raise SystemExit(msg)
        figures: dict[str, Any] = json.loads(answer)
        return figures


@contextmanager
def running(kind: Kind, address: str) -> Iterator[Process]:
    """Run a client until the block ends."""
    # gRPC is to run as it does for those who set nothing.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
    arguments = (kind.library, kind.shell, address, json.dumps(kind.settings))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.clients", *arguments],
        cwd=ROOT,
        env=kept | kind.variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Process(process)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
