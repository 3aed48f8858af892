"""A process's place under the supervisor: the process, its line, and when to start it again."""

from __future__ import annotations

import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final

from isotherm.server import control
from isotherm.server.config import ServerConfig
from isotherm.server.control import Line, Message
from isotherm.server.counters import Block
from isotherm.server.drift.ring import Ring

_FIRST_BACKOFF_S: Final = 0.5
_MAX_BACKOFF_S: Final = 30.0
# A process that served so long starts with a fresh back-off.
_STABLE_AFTER_S: Final = 60.0
# How long a process may take to end once it has closed its line.
_EXIT_S: Final = 10.0


class Slot:
    """A process that serves, or the wait for one."""

    def __init__(self, name: str, module: str) -> None:
        self.name = name
        self.restarts = 0
        self.restart_at: float | None = None
        self.serving_since: float | None = None
        self.never_served = True
        self.killed = False
        self.reason = ""
        self.line: Line
        self._module = module
        self._backoff_s = _FIRST_BACKOFF_S
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None

    def launch(self, selector: selectors.BaseSelector, fds: Sequence[int], **told: object) -> int:
        """Start the process with these descriptors, tell it what to be, and return its id."""
        self.restart_at = self.serving_since = None
        self.reason = ""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  our own module, in this interpreter
                [sys.executable, "-m", self._module, str(theirs.fileno())],
                pass_fds=(theirs.fileno(), *fds),
                stdin=subprocess.DEVNULL,
            )
        self.line = Line(ours)
        self.line.send(control.START, **told)
        selector.register(self.line, selectors.EVENT_READ, self)
        return self._process.pid

    def read(self) -> list[Message] | None:
        """Return what the process says; None when it has ended."""
        messages = self.line.read()
        if messages and any(message["kind"] == control.SERVING for message in messages):
            self.never_served = False
        return messages

    def drain(self, *, hold: bool = False) -> None:
        """Tell the process to stop when its calls are answered; with `hold`, not yet."""
        self.restart_at = None
        if self.running:
            self.line.send(control.DRAIN, hold=hold)

    def reap(self) -> int:
        """Take leave of a process that has closed its line; return its exit status."""
        assert self._process is not None  # noqa: S101  its line was open
        try:
            status = self._process.wait(_EXIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            status = -signal.SIGKILL
        self._process = None
        self.line.close()
        return status

    def plan_restart(self) -> None:
        """Start again after a back-off that doubles with every early death."""
        now = time.monotonic()
        if self.serving_since is not None and now - self.serving_since > _STABLE_AFTER_S:
            self._backoff_s = _FIRST_BACKOFF_S
        self.restart_at = now + self._backoff_s
        self._backoff_s = min(2 * self._backoff_s, _MAX_BACKOFF_S)
        self.restarts += 1

    def terminate(self) -> None:
        """Send SIGTERM to the process, if it is still there."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """End the process at once, if it is still there."""
        if self._process is not None and self._process.poll() is None:
            self.killed = True
            self._process.kill()
            self._process.wait()


class WorkerSlot(Slot):
    """A worker's place, with its block of counters."""

    def __init__(
        self,
        config: ServerConfig,
        number: int,
        blocks: Sequence[Block],
        address: str,
        private: str | None = None,
        ring: Ring | None = None,
    ) -> None:
        """`private` is where the worker listens for the gateway, if there is one.

        Into `ring` it copies rows, if drift is watched.
        """
        super().__init__(f"worker {number}", "isotherm.server.process")
        self.number = number
        self._config = config
        self._blocks = blocks
        self._address = address
        self._private = private
        self._ring = ring

    def start(
        self, selector: selectors.BaseSelector, models: list[str] | None, log_level: str
    ) -> None:
        """Start the process; `models` are to be loaded, None means all."""
        fds = [block.fd for block in self._blocks]
        drift = [self._ring.fd] if self._ring is not None else []
        self._blocks[self.number].pid = self.launch(
            selector,
            [*fds, *drift],
            config=self._config.to_json(),
            slot=self.number,
            blocks=fds,
            drift=drift,
            address=self._address,
            private=self._private,
            models=models,
            log_level=log_level,
        )

    def drain(self, *, hold: bool = False) -> None:
        """Tell the worker to stop; one that still loads is ended, since it has no calls."""
        super().drain(hold=hold)
        if self.serving_since is None:
            # It listens to us when it serves; until then a signal is all that it hears.
            self.terminate()

    def reap(self) -> int:
        """Take leave of the process, and say in its block that it is down."""
        status = super().reap()
        self._blocks[self.number].end()
        return status
