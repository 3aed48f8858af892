"""What is derived: Isotherm against each family, and against bare runs of the model."""

from __future__ import annotations

from collections.abc import Callable

from tests.bench.peers.figures import Figures, Middle, Point
from tests.bench.peers.tables import row, table
from tests.bench.peers.workloads import ALONE, BUSY, LARGE, ROWS, SIXTEEN, SMALL, title

OURS = "Isotherm"
ONE_ROW_BUSY = Point(title(SMALL), 1, str(BUSY))
ONE_ROW_ALONE = Point(title(SMALL), 1, str(ALONE))
SOME_ROWS = Point(title(LARGE), 32, str(SIXTEEN))
MANY_ROWS = Point(title(LARGE), 1024, str(SIXTEEN))


def against_each(figures: Figures) -> list[str]:
    """Return the table of Isotherm's best divided by each other family's best."""
    columns: list[tuple[str, Point, Callable[[Middle], float]]] = [
        ("requests/s, 1 row, 16 x 4", ONE_ROW_BUSY, lambda middle: middle.per_second),
        ("CPU a request, 1 row, 16 x 4", ONE_ROW_BUSY, lambda middle: middle.cpu_us),
        ("mean, 1 row, 1 x 1", ONE_ROW_ALONE, lambda middle: middle.mean_us),
        ("p50, 1 row, 1 x 1", ONE_ROW_ALONE, lambda middle: middle.p50_us),
        ("requests/s, 32 rows, 16 x 1", SOME_ROWS, lambda middle: middle.per_second),
        ("CPU, 32 rows, 16 x 1", SOME_ROWS, lambda middle: middle.cpu_us),
        ("requests/s, 1,024 rows, 16 x 1", MANY_ROWS, lambda middle: middle.per_second),
        ("CPU, 1,024 rows, 16 x 1", MANY_ROWS, lambda middle: middle.cpu_us),
    ]
    lines = []
    for family in figures.families():
        if family == OURS:
            continue
        ratios = [
            _ratio(
                figures.family(OURS, point),
                figures.family(family, point),
                figure,
                max if head.startswith("requests") else min,
            )
            for head, point, figure in columns
        ]
        if any(ratios):
            lines.append(row(family, *ratios))
    if not lines:
        return []
    return [
        f"**{OURS} against each, divided by it**, each at the best of its settings for that figure "
        f"(one row is of {title(SMALL)}, more are of {title(LARGE)})",
        "",
        *table(("against", *(head for head, _, _ in columns)), lines),
    ]


def beyond_bare_runs(figures: Figures) -> list[str]:
    """Return what a request costs a server beyond a bare `session.run` of its rows."""
    lines = []
    for name, about in figures.record.servers.items():
        if "HTTP" in about.protocol:
            continue
        cells = []
        for point in (SOME_ROWS, MANY_ROWS):
            for load in (ALONE, SIXTEEN, BUSY):
                found = figures.at(name, Point(point.model, point.rows, str(load)))
                bare = figures.bare_cpu_us(point.model, point.rows)
                beyond = found.cpu_us - bare if found else 0
                cells.append(f"{beyond:+,.0f} us ({beyond / bare:+.0%})" if found else "")
        if any(cells):
            lines.append(row(name, *cells))
    if not lines:
        return []
    runs = ", ".join(
        f"{rows:,} row{'s' * (rows > 1)} {figures.bare_cpu_us(model, rows):,.0f} us"
        for model, rows in dict.fromkeys(
            (limit.model, limit.rows) for limit in figures.record.limits
        )
        if model == title(LARGE)
    )
    return [
        f"**Server CPU a request beyond a bare `session.run`** of {title(LARGE)}, in this process "
        f"and in the same rounds, one thread: {runs}. A server that joins requests into one run "
        "saves some of it, and one whose processes wait for a core or share a cache pays more.",
        "",
        *table(
            (
                "server",
                *(f"{rows:,} rows, {load}" for rows in ROWS[1:] for load in (ALONE, SIXTEEN, BUSY)),
            ),
            lines,
        ),
    ]


def split(figures: Figures) -> list[str]:
    """Return how Isotherm's workers shared the CPU time, round by round."""
    found = figures.at(f"{OURS}, 2 workers", ONE_ROW_BUSY)
    if found is None:
        return []
    rounds = ", ".join(
        ":".join(f"{share * 100:.0f}" for share in shares[:2]) for shares in found.shares
    )
    return [
        f"Two workers of {OURS} shared 1 row, {BUSY}, by CPU time in each round: {rounds} "
        "(the kernel deals out connections by their hash).",
        "",
    ]


def _ratio(
    ours: list[Middle],
    theirs: list[Middle],
    figure: Callable[[Middle], float],
    best: Callable[[list[float]], float],
) -> str:
    if not ours or not theirs:
        return ""
    ratio = best([figure(middle) for middle in ours]) / best([figure(middle) for middle in theirs])
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.1f}"
