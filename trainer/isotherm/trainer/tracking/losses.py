"""The losses of a training, stage by stage, as a store keeps them: about a thousand of each."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

# A store takes, and a chart shows, no more of a stage with a hundred thousand epochs.
POINTS: Final = 1000


@dataclass(frozen=True, slots=True)
class Point:
    """The losses after an epoch; `validation` is NaN without one.

    Attributes:
        at: seconds since 1970.
    """

    stage: str
    epoch: int
    training: float
    validation: float
    at: float


OnPoint = Callable[[Point], None]


@dataclass(slots=True)
class Losses:
    """What a training told, in order; `on_point` hears of each at once."""

    on_point: OnPoint | None = None
    points: list[Point] = field(default_factory=list)

    def add(self, stage: str, epochs: int, epoch: int, training: float, validation: float) -> None:
        """Take the losses of an epoch, unless it is one that is passed over."""
        every = -(-epochs // POINTS)
        if epoch % every and epoch not in {1, epochs}:
            return
        point = Point(stage, epoch, training, validation, time.time())
        self.points.append(point)
        if self.on_point:
            self.on_point(point)
