"""The plan of a bench: which loads are made, from what the command line says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from isotherm.client.cli.bench.arrivals import Arrivals
from isotherm.client.cli.bench.figures import Limits
from isotherm.client.cli.bench.load import Closed, Load, Open, Period
from isotherm.client.cli.failure import Failure

CONCURRENCY: Final = 16
START_RATE: Final = 100.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """How the requests of an open loop arrive."""

    arrivals: Arrivals
    seed: int

    def at(self, rate: float) -> Open:
        """Return the load of `rate` requests a second."""
        return Open(rate=rate, arrivals=self.arrivals, seed=self.seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Loads that are known beforehand, or the limits of a ramp and where it starts."""

    period: Period
    arrival: Arrival
    loads: tuple[Load, ...] = ()
    limits: Limits | None = None
    start_rate: float = START_RATE


def plan(
    *,
    period: Period,
    timeout_s: float,
    arrival: Arrival,
    rates: Sequence[str] = (),
    concurrencies: Sequence[str] = (),
    ramp: Limits | None = None,
) -> Plan:
    """Return what is to be measured; raise Failure when the options contradict each other."""
    if not 0 < period.duration_s < math.inf or not 0 <= period.warmup_s < math.inf:
        msg = (
            f"--duration is {period.duration_s:g} and --warmup {period.warmup_s:g}, "
            "expected seconds: more than 0, and 0 or more"
        )
        raise Failure(msg)
    if not 0 < timeout_s < math.inf:
        msg = f"--timeout is {timeout_s:g}, expected seconds: more than 0"
        raise Failure(msg)
    if concurrencies and (rates or ramp):
        msg = "--concurrency is a closed loop, --rate and --ramp are open: give one of the two"
        raise Failure(msg)
    found = _numbers("--rate", rates)
    if ramp is not None:
        if len(found) > 1:
            msg = f"--ramp starts at one --rate, got {len(found)}"
            raise Failure(msg)
        start = found[0] if found else START_RATE
        return Plan(period=period, arrival=arrival, limits=ramp, start_rate=start)
    loads: list[Load] = [arrival.at(rate) for rate in found]
    if not loads:
        numbers = _numbers("--concurrency", concurrencies)
        wanted = [_whole("--concurrency", number) for number in numbers] or [CONCURRENCY]
        loads = [Closed(concurrency=number) for number in wanted]
    return Plan(period=period, arrival=arrival, loads=tuple(loads))


def _numbers(option: str, texts: Sequence[str]) -> list[float]:
    return [_positive(option, part) for text in texts for part in text.split(",")]


def _positive(option: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        msg = f"{option}: '{text}' is no number above 0"
        raise Failure(msg)
    return number


def _whole(option: str, number: float) -> int:
    if not number.is_integer():
        msg = f"{option}: {number:g} is no whole number"
        raise Failure(msg)
    return int(number)
