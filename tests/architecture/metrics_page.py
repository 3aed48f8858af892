"""docs/metrics.md: its tables are written from the definitions of the families.

    python -m tests.architecture.metrics_page --write

replaces what stands between its two marks; the rest of the page is written by hand.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from isotherm.server.families import SECTIONS
from isotherm.server.families.family import Section
from isotherm.server.layout import BATCH_EDGES, LATENCY_EDGES_NS
from tests.deploy.places import METRICS_PAGE

_BEGIN: Final = "<!-- begin: families, by python -m tests.architecture.metrics_page --write -->\n"
_END: Final = "<!-- end: families -->\n"
_WIDTH: Final = 120
_UNITS: Final = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"))


def rewritten(page: str) -> str:
    """Return the page with its generated part made anew."""
    head, rest = page.split(_BEGIN)
    parts = [*map(_section, SECTIONS), _buckets(), _closed_lists()]
    return head + _BEGIN + "\n".join(parts) + "\n" + _END + rest.split(_END)[1]


def write() -> None:
    """Make the page's generated part anew."""
    METRICS_PAGE.write_text(rewritten(METRICS_PAGE.read_text()))


def _section(section: Section) -> str:
    rows = [
        (f"`{family.name}`", family.kind, _code(family.labels), family.meaning)
        for family in section.families
    ]
    lines = [f"## {section.title}", "", *([_wrapped(section.text), ""] if section.text else [])]
    return "\n".join([*lines, *_table(("family", "type", "labels", "meaning"), rows)]) + "\n"


def _buckets() -> str:
    times = ", ".join(_time(edge_ns) for edge_ns in LATENCY_EDGES_NS)
    text = (
        f"Histograms of time: {times}. The latency objective of the alert rules (100 ms) lies on "
        "an edge, so it is counted, not interpolated. `isotherm_batch_size`: the powers of two "
        f"from {BATCH_EDGES[0]} to {BATCH_EDGES[-1]}."
    )
    return f"## Buckets\n\n{_wrapped(text)}\n"


def _closed_lists() -> str:
    rows = [
        (f"`{family.name}`", f"`{label}`", _code(values))
        for section in SECTIONS
        for family in section.families
        for label, values in family.values.items()
    ]
    return "\n".join(["## Closed lists", "", *_table(("family", "label", "values"), rows)]) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield "|" + "|".join(f" {cell} " if cell else " " for cell in row) + "|"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _code(words: Sequence[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _time(edge_ns: int) -> str:
    unit_ns, unit = next((ns, unit) for ns, unit in _UNITS if edge_ns >= ns)
    return f"{edge_ns / unit_ns:g} {unit}"


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    write()
