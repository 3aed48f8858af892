"""Medians over the rounds, and the best that a family of servers has shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from tests.bench.peers.measure import Cell
from tests.bench.peers.record import Record


@dataclass(frozen=True, slots=True)
class Point:
    """Where something was measured: a model, rows a request, calls in flight."""

    model: str
    rows: int
    load: str


@dataclass(frozen=True, slots=True)
class Middle:
    """Medians of one server at one point."""

    server: str
    per_second: float
    mean_us: float
    p50_us: float
    p99_us: float
    cpu_us: float
    # One a round: how its processes shared the work.
    shares: tuple[tuple[float, ...], ...]


class Figures:
    """What a record comes down to."""

    def __init__(self, record: Record) -> None:
        self.record = record
        runs: dict[tuple[str, Point], list[Cell]] = {}
        for cell in record.cells:
            point = Point(cell.model, cell.rows, cell.load)
            runs.setdefault((cell.server, point), []).append(cell)
        self._middles = {key: _middle(cells) for key, cells in runs.items()}

    def at(self, server: str, point: Point) -> Middle | None:
        """Return one server's medians, or None where it was not measured."""
        return self._middles.get((server, point))

    def family(self, family: str, point: Point) -> list[Middle]:
        """Return the medians of all servers of a family that were measured there."""
        servers = (name for name, about in self.record.servers.items() if about.family == family)
        found = (self.at(server, point) for server in servers)
        return [middle for middle in found if middle is not None]

    def families(self) -> list[str]:
        """Return their names, in order."""
        return list(dict.fromkeys(about.family for about in self.record.servers.values()))

    def fastest(self, family: str, point: Point) -> str | None:
        """Return the server of a family with the most requests a second."""
        found = self.family(family, point)
        return max(found, key=lambda middle: middle.per_second).server if found else None

    def best(self, family: str, point: Point, figure: Callable[[Middle], float]) -> float | None:
        """Return a family's lowest figure, of whichever of its servers has it."""
        return min((figure(middle) for middle in self.family(family, point)), default=None)

    def bare_cpu_us(self, model: str, rows: int) -> float:
        """Return the CPU time of one bare run."""
        found = [
            limit.cpu_us
            for limit in self.record.limits
            if limit.model == model and limit.rows == rows
        ]
        return median(found)


def _middle(cells: list[Cell]) -> Middle:
    return Middle(
        server=cells[0].server,
        per_second=median(cell.per_second for cell in cells),
        mean_us=median(cell.mean_us for cell in cells),
        p50_us=median(cell.p50_us for cell in cells),
        p99_us=median(cell.p99_us for cell in cells),
        cpu_us=median(cell.cpu_us for cell in cells),
        shares=tuple(tuple(cell.shares) for cell in cells),
    )
