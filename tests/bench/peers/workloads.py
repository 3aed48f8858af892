"""What is sent: two models, three sizes of request, four numbers of calls in flight."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Concurrency:
    """Connections, and calls in flight on each."""

    connections: int
    streams: int

    def __str__(self) -> str:
        return f"{self.connections} x {self.streams}"

    @property
    def in_flight(self) -> int:
        return self.connections * self.streams


@dataclass(frozen=True, slots=True)
class Workload:
    """One model and rows a request; `everybody` are the loads that all servers get."""

    widths: tuple[int, ...]
    rows: int
    everybody: tuple[Concurrency, ...]


def title(widths: tuple[int, ...]) -> str:
    """Return a model's name."""
    return "-".join(str(width) for width in widths)


ALONE = Concurrency(1, 1)
SIXTEEN = Concurrency(16, 1)
BUSY = Concurrency(16, 4)
CONCURRENCIES = (ALONE, SIXTEEN, BUSY, Concurrency(64, 4))

SMALL, LARGE = (1, 13, 1), (64, 256, 256, 8)
MODELS = (SMALL, LARGE)
ROWS = (1, 32, 1024)

# The rest is for Isotherm and Triton alone, so that a run ends within the hour.
WORKLOADS = (
    Workload(SMALL, 1, CONCURRENCIES),
    Workload(SMALL, 32, ()),
    Workload(SMALL, 1024, ()),
    Workload(LARGE, 1, ()),
    Workload(LARGE, 32, (ALONE, SIXTEEN)),
    Workload(LARGE, 1024, (ALONE, SIXTEEN)),
)
