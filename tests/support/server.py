"""A real `isotherm serve` in a process of its own, on free ports."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.ports import free_port
from tests.support.processes import children

# Where time is dear, less.
START_TIMEOUT_S = float(os.environ.get("SERVER_START_S", "60"))
STOP_TIMEOUT_S = 60.0
# Characters that tell what went wrong.
LOG_END = 4000


def eventually(condition: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    """Look at a condition until it holds; tell whether it came to hold in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


class Server:
    """A running server: where it listens, and what it logged."""

    def __init__(self, process: subprocess.Popen[bytes], ports: tuple[int, int], log: Path) -> None:
        self.process = process
        self.grpc_port, self.metrics_port = ports
        self._log = log

    @property
    def address(self) -> str:
        """Where gRPC is served."""
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def log(self) -> str:
        """Everything on standard output and error so far."""
        return self._log.read_text()

    def get(self, path: str) -> tuple[int, str]:
        """Return (status, body) of a page on the metrics port; (0, "") when nobody answers."""
        url = f"http://127.0.0.1:{self.metrics_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except (OSError, http.client.HTTPException):
            # The second where it ends in the middle of its answer.
            return 0, ""

    def metric(self, series: str) -> float:
        """Return the value of one series as Prometheus writes it; 0 when it is not there."""
        for line in self.get("/metrics")[1].splitlines():
            name, _, value = line.rpartition(" ")
            if name == series:
                return float(value)
        return 0.0

    def ready(self) -> bool:
        """Tell whether the server says that it is ready."""
        return self.get("/v2/health/ready")[0] == 200

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(STOP_TIMEOUT_S)

    def workers(self) -> list[int]:
        """Return the process ids of the workers that answer, below the supervisor."""
        workers = []
        for child in children(self.process.pid):
            # One that has just ended has nothing to be read.
            with suppress(OSError):
                command_line = Path(f"/proc/{child}/cmdline").read_bytes()
                if command_line and b"resource_tracker" not in command_line:
                    workers.append(child)
        return workers


@contextmanager
def halted(server: Server) -> Iterator[None]:
    """Halt a server's workers: connections stay, and nobody answers."""
    workers = server.workers()
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    try:
        yield
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)


def command(repository: Path | str, *flags: str) -> list[str]:
    """Return the command line of a server."""
    return [sys.executable, "-m", "isotherm.server", str(repository), *flags]


@contextmanager
def serving(repository: Path | str, *flags: str, wait: bool = True) -> Iterator[Server]:
    """Run a server until the block ends; with `wait`, from the moment it is ready.

    Models made by a test are trusted, unless its flags say otherwise: vetting them costs half a
    second a start, and has tests of its own.
    """
    flags = flags if "--vetting" in flags else ("--vetting", "off", *flags)
    ports = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command(
                    repository,
                    "--grpc-port",
                    str(ports[0]),
                    "--metrics-port",
                    str(ports[1]),
                    *flags,
                ),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        server = Server(process, ports, log)
        try:
            if wait:
                gone_or_ready = eventually(
                    lambda: process.poll() is not None or server.ready(), START_TIMEOUT_S
                )
                assert gone_or_ready, "not ready in time"
                assert process.poll() is None, "ended while starting"
            yield server
        except BaseException as error:
            error.add_note(f"the server's log ends:\n{server.log[-LOG_END:]}")
            raise
        finally:
            if process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait until it has ended, and end it when that takes too long or is interrupted."""
    try:
        process.wait(STOP_TIMEOUT_S)
    finally:
        process.kill()
        process.wait()


def failing(repository: Path | str, *flags: str) -> tuple[int, str]:
    """Run a server that cannot start; return (exit status, standard error)."""
    ports = ("--grpc-port", str(free_port()), "--metrics-port", str(free_port()))
    result = subprocess.run(
        command(repository, *ports, *flags),
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
        check=False,
    )
    return result.returncode, result.stderr
