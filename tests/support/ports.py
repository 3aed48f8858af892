"""Ports for servers under test."""

from __future__ import annotations

import os
import random
import socket
from typing import Final

# A server binds what it was given seconds later: processes that run tests at the same time have
# no port in common.
_PROCESS: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PROCESSES: Final = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
# Below those that the kernel gives to callers: they would take one before its server does.
_RANGE: Final = range(10_000 + _PROCESS, 32_000, _PROCESSES)
# Of the system's own chance: what seeds Python's generator would give the same ports again.
_RANDOM: Final = random.SystemRandom()
_given: set[int] = set()


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on now; never the same twice."""
    while True:
        port = _RANDOM.choice(_RANGE)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port
