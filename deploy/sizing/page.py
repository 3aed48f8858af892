"""docs/sizing.md: how many replicas, cores and how much memory, from measured figures alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.sizing import figures, manifests
from deploy.sizing.figures import Load
from deploy.sizing.manifests import Replica

TEMPLATE: Final = Path(__file__).with_name("template.md")
# The column of performance.md where a worker is busy all the time.
CALLERS: Final = "16 x 4"
# What the examples ask for, in requests a second, by network and rows.
ASKED: Final = {("1-13-1", 1): 50_000, ("64-256-256-8", 1024): 2_000}


@dataclass(frozen=True, slots=True)
class Plan:
    """What so many requests a second of a kind take."""

    asked: int
    load: Load
    # Of work, and as many as are to be there for it.
    cores: float
    planned: float
    # Replicas that carry it, and with those to spare.
    for_load: int
    replicas: int


def plan(load: Load, asked: int, replica: Replica) -> Plan:
    """Return the cores and replicas for so many requests a second of a kind."""
    cores = asked * load.cpu_us / 1e6
    planned = cores / (replica.cpu_target / 100)
    for_load = math.ceil(planned / replica.cores)
    return Plan(asked, load, cores, planned, for_load, max(for_load + 1, replica.replicas))


def page() -> str:
    """Return the page."""
    replica = manifests.replica()
    one, two = figures.resources(1), figures.resources(2)
    worker_mb = two.memory_mb - one.memory_mb
    base_mb = one.memory_mb - worker_mb
    loads = figures.loads(1, CALLERS)
    plans = [
        plan(load, ASKED[load.network, load.rows], replica)
        for load in loads
        if (load.network, load.rows) in ASKED
    ]
    return TEMPLATE.read_text(encoding="utf-8").format(
        machine=figures.machine(),
        loads="\n".join(map(_row, loads)),
        examples="\n\n".join(_example(each, replica) for each in plans),
        base_mb=base_mb,
        worker_mb=worker_mb,
        used_mb=base_mb + replica.workers * worker_mb,
        queue_mib=manifests.queue_mib(),
        start_s=f"{two.start_s:g}",
        share=f"{replica.cpu_target / 100:g}",
        cpu_target=replica.cpu_target,
        rows_target=f"{replica.rows_target:,}",
        cores=replica.cores,
        workers=replica.workers,
        memory_mib=replica.memory_mib,
    )


def _row(load: Load) -> str:
    a_core_s = 1e6 / load.cpu_us
    cells = (
        load.network,
        f"{load.rows:,}",
        f"{load.cpu_us:,} us",
        f"{a_core_s:,.0f}",
        f"{load.rows * a_core_s:,.0f}",
        f"{load.p99_ms:g} ms",
    )
    return f"| {' | '.join(cells)} |"


def _example(each: Plan, replica: Replica) -> str:
    load = each.load
    rows = "one row" if load.rows == 1 else f"{load.rows:,} rows"
    return (
        f"**{each.asked:,} requests/s of {rows} to {load.network}:** "
        f"{each.asked:,} x {load.cpu_us:,} us = {each.cores:.2f} cores of work. "
        f"At {replica.cpu_target} % that is {each.planned:.2f} cores,\n"
        f"or {each.for_load} replicas of {replica.cores} cores. "
        f"With one more: **{each.replicas} replicas, {each.replicas * replica.cores} cores**."
    )
