"""Where rows come from: a file, or standard input."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO


@dataclass(frozen=True, slots=True)
class Source:
    """A file; standard input where there is no path."""

    path: Path | None

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self.path) if self.path is not None else "standard input"

    @property
    def size(self) -> int | None:
        """Its bytes; None where nobody knows, as with a pipe."""
        if self.path is None:
            return None
        found = self.path.stat()
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Open it for reading; standard input stays open."""
        if self.path is not None:
            with self.path.open("rb") as file:
                yield file
        elif (number := _number(sys.stdin)) is not None:
            # Python's own object may not be waited on by a thread when the interpreter ends.
            with open(number, "rb", closefd=False) as file:
                yield file
        else:
            yield sys.stdin.buffer


def _number(stream: TextIO) -> int | None:
    """Return a stream's file descriptor, if it has one."""
    try:
        return stream.fileno()
    except OSError:
        return None
