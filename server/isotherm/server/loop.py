"""The loop of a worker, as those see it who do nothing but ask it to call back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Loop(Protocol):
    """The thread that everything but long runs happens on."""

    def defer(self, callback: Callable[[], None]) -> None:
        """Call back once everything that has arrived so far is handled."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call back after a delay."""

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        """Call back soon, from any thread."""
