"""The section of docs/performance.md, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from statistics import median

from tests.bench.clients import imports
from tests.bench.clients.callers import Seen
from tests.bench.clients.plan import (
    BATCHES,
    CALLED,
    FASTER,
    IMPORT_SHARE,
    MANY,
    OUR_SYNC,
    OUR_SYNC_SET,
    PEERS,
    SOONER,
    STREAM_SHARE,
    STREAMED,
    STREAMERS,
    THEIR_SYNC_SET,
    VARIABLES,
    WIDE,
    Growths,
    Rates,
    Rows,
)
from tests.bench.clients.reference import CONNECTIONS, STREAMS
from tests.bench.page import machine


def page(
    called: Rows,
    streamed: Rates,
    grown: Growths,
    imported: dict[str, list[float]],
    rows: int,
) -> str:
    """Return the section; `rows` is how many a stream was to send at least."""
    rounds = len(called[OUR_SYNC, 1])
    lines = [
        f"One server with one worker and a queue of a million rows; clients and server share two "
        f"cores; {machine()}, tritonclient {metadata.version('tritonclient')}; medians of {rounds} "
        "interleaved rounds, ratios within a round. Each client runs in a process of its own, "
        "with its default settings, and every answer is looked at; with tritonclient a caller "
        "makes an `InferInput`, calls `infer` and reads `as_numpy`.",
        "",
        *many(called),
        *alone(called),
        *streams(streamed, grown, rows),
        *importing(imported),
    ]
    return "\n".join(lines)


def many(called: Rows) -> list[str]:
    """Return the table of many callers."""
    rows = []
    for name in CALLED[MANY]:
        ours, theirs = called[name, MANY], called[PEERS[name], MANY]
        aim = FASTER.get((name, MANY))
        rows.append(
            line(
                name,
                f"{median(one.per_second for one in ours):,.0f}",
                f"{ratio(ours, theirs, 'per_second'):.2f}",
                "" if aim is None else f">= {aim:g}",
                f"{median(one.p50_us for one in ours):,.0f} us",
                f"{median(one.p99_us for one in ours):,.0f} us",
                f"{median(one.cpu_us for one in ours):.1f} us",
            )
        )
    return [
        f"**One row a call, {MANY} callers at once** (tasks of one loop, or threads; for the "
        "figures of CPU, only the client's process counts)",
        "",
        "| client | predictions/s | of tritonclient's | target | p50 | p99 | CPU a prediction |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
    ]


def alone(called: Rows) -> list[str]:
    """Return the table of a caller alone."""
    rows = []
    for name in CALLED[1]:
        ours, theirs = called[name, 1], called[PEERS[name], 1]
        aim = SOONER.get((name, 1))
        rows.append(
            line(
                name,
                f"{median(one.p50_us for one in ours):.0f} us",
                f"{ratio(ours, theirs, 'p50_us'):.2f}",
                "" if aim is None else f"<= {aim:g}",
                f"{median(one.p99_us for one in ours):.0f} us",
                f"{ratio(ours, theirs, 'p99_us'):.2f}",
                f"{median(one.cpu_us for one in ours):.0f} us",
                f"{ratio(ours, theirs, 'cpu_us'):.2f}",
            )
        )
    both = ratio(called[OUR_SYNC_SET, 1], called[THEIR_SYNC_SET, 1], "p50_us")
    variable = " ".join(f"`{name}={value}`" for name, value in VARIABLES.items())
    return [
        f"**One row a call, one call after the other** (the variable: {variable}, of which "
        "[client.md](client.md#a-setting-of-grpcs) says whom it is for)",
        "",
        "| client | p50 | of tritonclient's | target | p99 | of tritonclient's "
        "| CPU a prediction | of tritonclient's |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
        "The ratios are to tritonclient of the same kind without the variable. With it set for "
        f"both, `Client` has {both:.2f} of tritonclient's p50.",
        "",
    ]


def streams(streamed: Rates, grown: Growths, sent: int) -> list[str]:
    """Return the table of streams, and what they did to memory."""
    rows = []
    for model, title in STREAMED.items():
        for batch in BATCHES:
            reference = streamed[model, batch, "h2load"]
            cells = [title, f"{batch:,}", f"{median(reference):,.0f}"]
            for name in STREAMERS:
                rates = streamed[model, batch, name]
                cells += [f"{median(rates):,.0f}", f"{share(rates, reference):.0%}"]
            rows.append(line(*cells, f">= {STREAM_SHARE:.0%}"))
    heads = " | ".join(f"{name} | of h2load's" for name in STREAMERS)
    peaks = "; ".join(
        f"{name} " + ", ".join(f"{grown[name, batch]:.1f} MB" for batch in BATCHES)
        for name in STREAMERS
    )
    batches = ", ".join(f"{batch:,}" for batch in BATCHES)
    return [
        f"**{sent:,} rows through `predict_stream`**, rows/s; h2load sends requests of the same "
        f"size for a while, on {CONNECTIONS} connections with {STREAMS} calls in flight on each",
        "",
        f"| model | rows a batch | h2load | {heads} | target |",
        f"| --- | --- | --- | {' | '.join('--- | ---' for _ in STREAMERS)} | --- |",
        *rows,
        "",
        f"Memory, as the peak of a stream's second half less that of its first ({STREAMED[WIDE]}, "
        f"batches of {batches}): {peaks}.",
        "",
    ]


def importing(imported: dict[str, list[float]]) -> list[str]:
    """Return the table of imports."""
    needed = imported[imports.NEEDED]
    aims = dict.fromkeys((imports.LAZY, imports.TOUCHED), f"<= {IMPORT_SHARE:g}")
    return [
        f"**Imports**, in fresh processes (medians of {len(needed)}); `isotherm.client` loads "
        "what is behind a name when that is first asked for, and the protocol's messages and all "
        "that works with them when the first client is made: the fourth line is the whole",
        "",
        "| | time | of the first | target |",
        "| --- | --- | --- | --- |",
        *(
            line(
                f"`{statement}`",
                f"{median(times):.0f} ms",
                f"{share(times, needed):.2f}",
                aims.get(statement, ""),
            )
            for statement, times in imported.items()
        ),
        "",
    ]


def line(*cells: str) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(cells)} |"


def ratio(ours: Sequence[Seen], theirs: Sequence[Seen], figure: str) -> float:
    """Return the median ratio of a figure."""
    return share([getattr(one, figure) for one in ours], [getattr(one, figure) for one in theirs])


def share(found: Sequence[float], of: Sequence[float]) -> float:
    """Return the median ratio of runs of the same round."""
    return median(a / b for a, b in zip(found, of, strict=True))
