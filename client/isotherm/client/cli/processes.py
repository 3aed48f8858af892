"""Child processes: started, watched until they are ready, and never left behind."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import typer

from isotherm.client.cli.failure import Failure

_POLL_S: Final = 0.05
_STOP_S: Final = 20.0
_LOG_LINES: Final = 15


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on; all are held until the last one is known."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@contextmanager
def running(module: str, *arguments: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python -m module` with its output in `log`; it has ended when the block has."""
    with log.open("wb") as output:
        process = subprocess.Popen(_command(module, arguments), stdout=output, stderr=output)  # noqa: S603  our own interpreter and modules
    try:
        yield process
    finally:
        _end(process)


def run(module: str, *arguments: str) -> str:
    """Run `python -m module` to its end, its output shown as it comes; return the last line."""
    last = ""
    process = subprocess.Popen(_command(module, arguments), stdout=subprocess.PIPE, text=True)  # noqa: S603  our own interpreter and modules
    try:
        # The pipe is there because it was asked for.
        for line in process.stdout or ():
            typer.echo(line, nl=False)
            last = line.strip() or last
        status = process.wait()
    finally:
        _end(process)
    if status != 0:
        msg = f"python -m {module} ended with exit status {status}, see its output above"
        raise Failure(msg)
    return last


def wait_ready(process: subprocess.Popen[bytes], port: int, log: Path, timeout_s: float) -> None:
    """Return when the server on `port` reports ready; raise Failure when it ends or takes long."""
    give_up_s = time.monotonic() + timeout_s
    while not _is_ready(port):
        try:
            # Waits a moment, and sees at once when there is nothing left to wait for.
            status = process.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            if time.monotonic() < give_up_s:
                continue
            msg = f"the server was not ready within {timeout_s:g} s; {_tail(log)}"
        else:
            msg = f"the server ended with exit status {status} before it was ready; {_tail(log)}"
        raise Failure(msg)


def stop(process: subprocess.Popen[bytes], log: Path) -> None:
    """Ask the process to end (SIGTERM) and wait for it; raise Failure unless it exits with 0."""
    process.terminate()
    try:
        status = process.wait(_STOP_S)
    except subprocess.TimeoutExpired as error:
        msg = f"the server did not end within {_STOP_S:g} s of SIGTERM; {_tail(log)}"
        raise Failure(msg) from error
    if status != 0:
        msg = f"the server answered SIGTERM with exit status {status}; {_tail(log)}"
        raise Failure(msg)


@contextmanager
def sigterm_unwinds() -> Iterator[None]:
    """Let SIGTERM leave the block like Ctrl-C does, so that children are ended on the way out."""
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _command(module: str, arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _end(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
    return "\n  ".join([f"the end of {log}:", *lines])
