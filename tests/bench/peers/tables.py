"""Markdown's tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[str]) -> list[str]:
    """Return a table's lines, and an empty one."""
    return [row(*head), row(*("---" for _ in head)), *rows, ""]


def row(*cells: str) -> str:
    """Return one line of a table."""
    return f"| {' | '.join(cells)} |"


def ms_of(us: float) -> str:
    """Return a time in milliseconds, without the unit."""
    ms = us / 1e3
    return f"{ms:.2f}" if ms < 10 else f"{ms:.1f}" if ms < 100 else f"{ms:,.0f}"


def bytes_of(count: float) -> str:
    """Return a size in MB, of a million bytes."""
    return f"{count / 1e6:,.0f} MB"
