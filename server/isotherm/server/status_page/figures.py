"""Numbers as people read them: three digits, and the unit that fits."""

from __future__ import annotations

from typing import Final

NOTHING: Final = "\N{EN DASH}"
_THOUSAND: Final = 1000.0
_UNITS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "\N{MICRO SIGN}s"))
_SIZES: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_SPANS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def number(value: float | None) -> str:
    """Return a value with three digits, and with blanks between its thousands."""
    if value is None:
        return NOTHING
    if abs(value) >= _THOUSAND:
        return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return f"{value:.3g}"


def seconds(value: float | None) -> str:
    """Return a time in seconds, milliseconds or microseconds."""
    if value is None:
        return NOTHING
    scale, unit = next((each for each in _UNITS if value >= each[0]), _UNITS[-1])
    return f"{number(value / scale)} {unit}" if value else "0"


def size(value: float | None) -> str:
    """Return a number of bytes."""
    if value is None:
        return NOTHING
    scale, unit = next((each for each in _SIZES if value >= each[0]), (1, "B"))
    return f"{number(value / scale)} {unit}"


def share(value: float | None) -> str:
    """Return a ratio in percent."""
    return NOTHING if value is None else f"{number(100 * value)} %"


def span(value_s: float) -> str:
    """Return how long something lasts, in its two largest units."""
    rest = int(value_s)
    parts: list[str] = []
    for length_s, unit in _SPANS:
        count, rest = divmod(rest, length_s)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
