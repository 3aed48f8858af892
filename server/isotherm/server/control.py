"""The line between the supervisor and a worker: JSON messages, one a line, over a socket pair."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any, Final

# Supervisor to worker.
START: Final = "start"
DRAIN: Final = "drain"
RECONCILE: Final = "reconcile"
# Both ways: a worker asks for a change, the supervisor has every worker make it; and the outcome.
CHANGE: Final = "change"
CHANGED: Final = "changed"
# The change that is about no model, but about what all processes log.
LOG: Final = "log"
# Worker to supervisor.
SERVING: Final = "serving"
FAILED: Final = "failed"

Message = dict[str, Any]


class Line:
    """One end of the line. Closing either end ends the other's `messages`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = b""

    @classmethod
    def from_fd(cls, fd: int) -> Line:
        """Take over an inherited file descriptor."""
        return cls(socket.socket(fileno=fd))

    def fileno(self) -> int:
        """Return the descriptor to wait on for `read`."""
        return self._connection.fileno()

    def send(self, kind: str, **fields: object) -> bool:
        """Send one message; False when the other end is gone."""
        try:
            self._connection.sendall(json.dumps({"kind": kind} | fields).encode() + b"\n")
        except OSError:
            return False
        return True

    def read(self) -> list[Message] | None:
        """Wait for bytes; return the messages they complete, or None when the other end is gone."""
        try:
            data = self._connection.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            return None
        *lines, self._received = (self._received + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def messages(self) -> Iterator[Message]:
        """Yield messages until the other end is gone."""
        while (messages := self.read()) is not None:
            yield from messages

    def close(self) -> None:
        """Close this end."""
        self._connection.close()
