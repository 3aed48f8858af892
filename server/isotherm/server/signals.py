"""SIGTERM and SIGINT as something to wait for, beside other things."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def signals(handler: signal._HANDLER) -> Iterator[socket.socket]:
    """Handle SIGTERM and SIGINT, and yield a socket that becomes readable when one comes."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    old_fd = signal.set_wakeup_fd(theirs.fileno())
    numbers = (signal.SIGTERM, signal.SIGINT)
    old = [signal.signal(number, handler) for number in numbers]
    try:
        yield ours
    finally:
        for number, previous in zip(numbers, old, strict=True):
            signal.signal(number, previous)
        signal.set_wakeup_fd(old_fd)
        ours.close()
        theirs.close()
