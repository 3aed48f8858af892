"""The time that a measurement may take in all, and what was left out to keep to it."""

from __future__ import annotations

import time
from collections.abc import Callable


class Budget:
    """Counts down; whoever asks for more than is left is told no, and noted."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until_s = clock() + seconds
        self.cut: list[str] = []

    @property
    def left_s(self) -> float:
        """What is left."""
        return self._until_s - self._clock()

    def allows(self, what: str, seconds: float) -> bool:
        """Tell whether so long is left; else note that `what` was cut."""
        if self.left_s >= seconds:
            return True
        self.cut.append(what)
        return False
