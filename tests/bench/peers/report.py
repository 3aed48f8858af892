"""docs/performance.md's section: every figure and every ratio computed from a record."""

from __future__ import annotations

import re
from statistics import median

from tests.bench.peers.figures import Figures, Point
from tests.bench.peers.ratios import against_each, beyond_bare_runs, split
from tests.bench.peers.record import Record
from tests.bench.peers.tables import bytes_of, ms_of, row, table
from tests.bench.peers.workloads import CONCURRENCIES, SMALL, WORKLOADS, Workload, title


def page(record: Record) -> str:
    """Return the section in Markdown."""
    figures = Figures(record)
    lines = [
        f"The same ONNX file behind each server, one thread a run; {record.machine}; load from "
        f"`h2load` on the same machine; medians of {record.rounds} interleaved rounds, servers "
        "started anew and connections fresh in each, a second or more a cell. "
        "`16 x 4` means 16 connections with 4 calls in flight on each; over HTTP/1.1, where a "
        "connection has one call at a time, 64 connections. Every answer had status OK, and the "
        "first to each question was compared with a bare run.",
        "",
        "**Triton (Python backend)** is the genuine server 2.51, from the wheel of "
        "`nvidia-pytriton`, with its Python backend calling ONNX Runtime: its C++ ONNX Runtime "
        "backend is not on the package index, so these figures are not those of that backend.",
        "",
    ]
    for workload in WORKLOADS:
        lines += measured(figures, workload)
    lines += against_each(figures)
    lines += beyond_bare_runs(figures)
    lines += split(figures)
    lines += footprint(record)
    lines += left_out(record)
    return "\n".join(lines).rstrip("\n") + "\n"


def measured(figures: Figures, workload: Workload) -> list[str]:
    """Return one workload's table; in each column the fastest of each family is bold."""
    model = title(workload.widths)
    points = [Point(model, workload.rows, str(load)) for load in CONCURRENCIES]
    servers = [
        name for name in figures.record.servers if any(figures.at(name, point) for point in points)
    ]
    if not servers:
        return []
    many = workload.rows > 1
    head = "requests/s" + (" (rows/s)" if many else "")
    lines = []
    for name in servers:
        family = figures.record.servers[name].family
        cells = []
        for point in points:
            found = figures.at(name, point)
            if found is None:
                cells.append("")
                continue
            rate = f"{found.per_second:,.0f}"
            if name == figures.fastest(family, point):
                rate = f"**{rate}**"
            if many:
                rate += f" ({found.per_second * workload.rows:,.0f})"
            times = " / ".join(ms_of(us) for us in (found.mean_us, found.p50_us, found.p99_us))
            cells.append(f"{rate}; {times} ms; {found.cpu_us:,.0f} us")
        lines.append(row(name, *cells))
    return [
        f"**{model}, {workload.rows:,} row{'s' * many} a request**: {head}; mean / p50 / p99 "
        "latency; server CPU a request, over all its processes",
        "",
        *table(("server", *(str(load) for load in CONCURRENCIES)), lines),
    ]


def footprint(record: Record) -> list[str]:
    """Return what each server is and takes, with the small model, after its loads."""
    lines = []
    for name, about in record.servers.items():
        starts = [start for start in record.starts if start.server == name]
        small = [start for start in starts if start.model == title(SMALL)]
        if not small:
            continue
        lines.append(
            row(
                name,
                f"{about.distribution} {about.version}",
                about.protocol,
                f"{median(start.start_s for start in starts):.2f} s",
                bytes_of(median(start.rss for start in small)),
                f"{bytes_of(median(start.pss for start in small))} "
                f"({median(start.processes for start in small):.0f})",
                bytes_of(about.installed_bytes),
                about.settings,
            )
        )
    head = (
        "server",
        "version",
        "protocol",
        "start to first answer",
        "RSS of the largest process",
        "PSS of all (processes)",
        "installed",
        "settings",
    )
    return [
        "**Start to the first right answer, memory with a small model after its loads, and the "
        "packages on the disk** (medians)",
        "",
        *table(head, lines),
    ]


def left_out(record: Record) -> list[str]:
    """Say which servers failed, at starting or under a load, and why."""
    return [
        f"Failed at least once: {name}: {_gist(reason)}\n"
        for name, reason in record.left_out.items()
    ]


def _gist(text: str) -> str:
    """Return a log's last line that speaks of an error, or its last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\w*Error\b", line)]
    return [*lines, *errors][-1][:300]
