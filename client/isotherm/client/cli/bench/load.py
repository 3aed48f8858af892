"""A load: what is offered to a server for a while, and to whom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from isotherm.client._security import Tls
from isotherm.client.cli.bench.arrivals import Arrivals

# What comes before a load may take this long at least, however short its own deadlines are.
SETUP_S: Final = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Period:
    """How long a load is measured, after how much warm-up that is not."""

    duration_s: float
    warmup_s: float

    @property
    def span_s(self) -> float:
        """Both together."""
        return self.warmup_s + self.duration_s


@dataclass(frozen=True, kw_only=True, slots=True)
class Open:
    """Open loop: `rate` requests a second, whatever becomes of them."""

    rate: float
    arrivals: Arrivals = Arrivals.CONSTANT
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Closed:
    """Closed loop: `concurrency` calls in flight at any time; each answer makes the next call."""

    concurrency: int


Load: TypeAlias = Open | Closed


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Where requests go, and how.

    Attributes:
        bodies: Serialised ModelInferRequests, sent in turn.
        connections: HTTP/2 connections of each process.
        timeout_s: The deadline of each call, counted from when it is sent.
    """

    address: str
    bodies: tuple[bytes, ...]
    connections: int
    timeout_s: float
    tls: bool | Tls = False
    token: Path | None = None
