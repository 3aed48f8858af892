"""A second thread in gRPC's core that reads and parses sockets while the loop's runs Python.

It polls a completion queue of its own, to which no event ever comes, so it needs Python's lock only
when a poll ends: five times a second. It polls under load alone, since one caller is answered
sooner by the thread that has read its request.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Final

# One stretch of polling after the loop has asked for it.
_STRETCH_S: Final = 0.2


class SocketReader:
    """Polls the queue in stretches, each asked for by `help`."""

    def __init__(self, queue: Any, shutdown_type: Any) -> None:
        """`queue` is core's, already the server's; its last event is of `shutdown_type`."""
        self._queue = queue
        self._shutdown_type = shutdown_type
        self._asked = threading.Event()
        self._thread = threading.Thread(target=self._read, name="socket-reader", daemon=True)
        self._thread.start()

    def help(self) -> None:
        """Read for a while, beginning now."""
        if not self._asked.is_set():
            self._asked.set()

    def close(self) -> None:
        """End the thread; the server must be gone."""
        self._queue.shutdown()
        self._asked.set()
        self._thread.join()

    def _read(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            if self._queue.poll(time.time() + _STRETCH_S).completion_type == self._shutdown_type:
                return
