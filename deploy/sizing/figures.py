"""What docs/performance.md says of this server: rates, processor time, memory, start."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parents[2] / "docs" / "performance.md"
SERVERS: Final = {1: "Isotherm, 1 worker", 2: "Isotherm, 2 workers"}

_SECTION: Final = re.compile(r"<!-- begin: peers -->\n(.*?)<!-- end: peers -->", re.DOTALL)
_MACHINE: Final = re.compile(r"one thread a run; (\d+ cores \([^)]*\))")
_WORKLOAD: Final = re.compile(
    r"^\*\*(?P<network>\d+(?:-\d+)+), (?P<rows>[\d,]+) rows? a request\*\*[^\n]*\n\n"
    r"(?P<table>(?:\|[^\n]*\n)+)",
    re.MULTILINE,
)
_RESOURCES: Final = re.compile(r"^\*\*Start to the first [^\n]*\n\n((?:\|[^\n]*\n)+)", re.MULTILINE)
_CELL: Final = re.compile(
    r"\*{0,2}(?P<rate>[\d,]+)\*{0,2}(?: \([\d,]+\))?; "
    r"[\d.]+ / [\d.]+ / (?P<p99>[\d.]+) ms; (?P<cpu>[\d,]+) us"
)


@dataclass(frozen=True, slots=True)
class Load:
    """What a server did of one kind of request: `rows` rows each, of one network."""

    network: str
    rows: int
    requests_s: int
    p99_ms: float
    # Over all processes of the server.
    cpu_us: int


@dataclass(frozen=True, slots=True)
class Resources:
    """What a server takes with a small model."""

    memory_mb: int
    start_s: float


def machine() -> str:
    """Return what the figures were measured on."""
    return _one(_MACHINE)[1]


def loads(workers: int, callers: str) -> list[Load]:
    """Return the figures of a server for each kind of request, at a column such as `16 x 4`."""
    found = []
    for workload in _WORKLOAD.finditer(_peers()):
        header, rows = _table(workload["table"])
        cell = _CELL.fullmatch(rows[SERVERS[workers]][header.index(callers)])
        assert cell is not None, workload[0]  # noqa: S101  a page that was written otherwise
        found.append(
            Load(
                workload["network"],
                _number(workload["rows"]),
                _number(cell["rate"]),
                float(cell["p99"]),
                _number(cell["cpu"]),
            )
        )
    return found


def resources(workers: int) -> Resources:
    """Return what a server with so many workers takes."""
    header, rows = _table(_one(_RESOURCES)[1])
    row = rows[SERVERS[workers]]
    memory = row[header.index("PSS of all (processes)")]
    start = row[header.index("start to first answer")]
    return Resources(_number(memory.split()[0]), float(start.removesuffix(" s")))


def _peers() -> str:
    section = _SECTION.search(PAGE.read_text(encoding="utf-8"))
    assert section is not None  # noqa: S101
    return section[1]


def _one(pattern: re.Pattern[str]) -> re.Match[str]:
    match = pattern.search(_peers())
    assert match is not None, pattern.pattern  # noqa: S101
    return match


def _table(text: str) -> tuple[list[str], dict[str, list[str]]]:
    """Return the header, and each row by its first cell."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return lines[0], {line[0]: line for line in lines[2:]}


def _number(text: str) -> int:
    return int(text.replace(",", ""))
