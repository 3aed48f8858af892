"""A stopwatch whose times are the test's, so that a device can be faster than it is."""

from __future__ import annotations

from collections.abc import Callable


class Figures:
    """Runs what it is given once, and says that it took what the test says."""

    def __init__(self, **seconds: Callable[[int], float]) -> None:
        """`seconds` by place ("cpu", "device"), from rows."""
        # What was timed, in order.
        self.asked: list[tuple[str, int]] = []
        self._seconds = seconds

    def __call__(self, place: str, rows: int, run: Callable[[], object]) -> float:
        run()
        self.asked.append((place, rows))
        return self._seconds[place](rows)


def device_from(rows: int) -> Figures:
    """Return times by which a device is faster from so many rows on, and only there."""
    return Figures(cpu=lambda n: n * 1e-6, device=lambda _n: (rows - 0.5) * 1e-6)


def device_always() -> Figures:
    """Return times by which a device is always faster."""
    return Figures(cpu=lambda n: n * 1e-3, device=lambda n: n * 1e-6)


def device_never() -> Figures:
    """Return times by which a device is never faster."""
    return Figures(cpu=lambda n: n * 1e-6, device=lambda n: n * 1e-3)
