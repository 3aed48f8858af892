"""Where text goes: a file, or standard output."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Protocol


class Sink(Protocol):
    """Takes pieces of bytes."""

    def write(self, data: bytes) -> None:
        """Add a piece."""

    def close(self) -> None:
        """Let go of it."""


class StandardOutput:
    """Standard output, which stays open."""

    def write(self, data: bytes) -> None:
        """Write a piece, and what is in buffers before it."""
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def close(self) -> None:
        """Leave it open."""


class FileSink:
    """A file of whole pieces: one that could not be written to its end is taken back.

    What the file held before stays untouched until the first piece is written.

    Args:
        path: The file; it is made where it is not there.
        keep: The bytes at its front that stay.

    Raises:
        OSError: It cannot be written to.
    """

    def __init__(self, path: Path, keep: int = 0) -> None:
        self._path = path
        self._new = not path.exists()
        # The umask has its say.
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666), "wb", buffering=0)
        self._regular = stat.S_ISREG(os.fstat(self._file.fileno()).st_mode)
        self._end = keep
        self._begun = False

    def write(self, data: bytes) -> None:
        """Write a piece; what was written of one that fails is cut off again."""
        if not self._begun:
            self._cut()
            self._begun = True
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) :]
        except BaseException:
            self._cut()
            raise
        self._end += len(data)

    def close(self) -> None:
        """Close the file; one that was made here and got nothing goes again."""
        self._file.close()
        if self._new and self._regular and not self._begun:
            self._path.unlink(missing_ok=True)

    def _cut(self) -> None:
        if self._regular:
            self._file.truncate(self._end)
            self._file.seek(self._end)
