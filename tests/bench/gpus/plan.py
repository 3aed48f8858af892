"""What is measured, the most important first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NETWORKS: Final = {
    "256-1024x4-32": (256, 1024, 1024, 1024, 1024, 32),
    "64-256-256-8": (64, 256, 256, 8),
    "1-13-1": (1, 13, 1),
}
# What the targets speak of.
TARGET: Final = "256-1024x4-32"
BATCHES: Final = (4096, 512, 64, 16384, 65536, 8, 1)
# Batches filled with requests of one row; larger ones need more callers than a machine has.
FILLED: Final = (64, 512)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        batches: Rows in a batch, the most important first.
        rounds: How often contenders take turns.
        loop_s: What a loop runs in each round.
        served_s: What a server is loaded in each round, and at half load.
        workers, several: Of one device, and the batches on which several are measured.
    """

    batches: tuple[int, ...] = BATCHES
    filled: tuple[int, ...] = FILLED
    networks: tuple[str, ...] = tuple(NETWORKS)
    rounds: int = 3
    loop_s: float = 0.08
    served_s: float = 0.6
    half_s: float = 2.0
    workers: int = 4
    several: tuple[int, ...] = (4096, 512)


FULL: Final = Plan()
QUICK: Final = Plan(
    batches=(64, 1),
    filled=(64,),
    rounds=1,
    loop_s=0.02,
    served_s=0.5,
    half_s=0.5,
    workers=2,
    several=(64,),
)
