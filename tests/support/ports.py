"""Ports for servers under test."""

from __future__ import annotations

import random
import socket
from typing import Final

# Below those that the kernel gives to callers: they would take one before its server does.
_RANGE: Final = range(10_000, 32_000)
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
