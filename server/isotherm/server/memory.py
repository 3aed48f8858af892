"""Memory that the supervisor makes, its workers inherit, and all of them see: 64-bit words."""

from __future__ import annotations

import mmap
import os
import tempfile

import numpy as np
from numpy.typing import NDArray


def create(name: str) -> int:
    """Return the descriptor of an anonymous file, which a child may inherit, still without size."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def words(fd: int, count: int) -> NDArray[np.int64]:
    """Map so many words of a file. Pages take memory only once they are written."""
    size = 8 * count
    os.truncate(fd, size)
    return np.frombuffer(mmap.mmap(fd, size), np.int64)
