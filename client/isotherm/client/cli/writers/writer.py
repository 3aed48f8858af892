"""The interface of writers: answers in the order of their rows, whole rows only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from isotherm.client.cli.answer import Series


class Writer(Protocol):
    """Writes the answers of one run.

    Whatever ends the run, `close` is called, and leaves what can be read: all rows so far.
    """

    @property
    def rows(self) -> int:
        """The rows that are written, with those that were there before."""
        ...

    def write(self, columns: Sequence[Series]) -> None:
        """Add rows, all of them or none."""

    def finish(self) -> None:
        """Say that there are no more."""

    def close(self) -> None:
        """Leave what was written so that it can be read."""
