"""More load than a server can carry, and a fast model beside a saturated slow one.

    python tests/bench/overload.py [--rounds 5] [--write]

What is offered comes in an open loop from `isotherm bench`'s own generators, three times what the
server answers in a closed loop: nobody waits for an answer before sending on. Every call has a
deadline. The fast model's latencies are the server's own, from its histograms.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import active_children
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402  the repository's root must be importable first
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402
from prometheus_client.samples import Sample  # noqa: E402

from isotherm.client.cli.bench.crew import Crew  # noqa: E402
from isotherm.client.cli.bench.load import Closed, Load, Open, Period, Target  # noqa: E402
from isotherm.client.cli.bench.tally import Tally  # noqa: E402
from tests.bench import h2  # noqa: E402
from tests.bench.page import machine, replace  # noqa: E402
from tests.support import models  # noqa: E402
from tests.support.rpc import infer_request  # noqa: E402
from tests.support.server import Server, serving  # noqa: E402

SLOW = (256, 1024, 1024, 1024, 1024, 32)
SLOW_ROWS = 32
TINY = (1, 13, 1)
DEADLINE_S = 0.25
OVERLOAD = 3
PERIOD = Period(duration_s=4.0, warmup_s=1.0)
FAST_LOAD = Open(rate=200)
CALLERS_NICE = 10
ACCESS_LOG = ("--access-log", "0.0001")
REFUSAL = r"code=RESOURCE_EXHAUSTED duration_us=(\d+)"
# Of the tiny model: its queue, and more callers than it has room for.
TINY_QUEUE_ROWS = 256
FLOOD = h2.Load(100_000, 64, 64)


@dataclass(frozen=True, slots=True)
class Overloaded:
    """One round of three times the capacity, in requests a second and shares."""

    capacity: float
    goodput: float
    kept: float
    refused: float
    refusal_p99_us: float
    caller_refusal_p99_us: float
    send_lag_p99_us: float


@dataclass(frozen=True, slots=True)
class Flooded:
    """One round of the flood on the tiny model."""

    sent: int
    answered: int
    refused: int
    per_second: float
    latency_p99_us: float


@dataclass(frozen=True, slots=True)
class Beside:
    """The fast model's p99 in the server, in us: alone, and beside the saturated slow one."""

    alone_us: float
    beside_us: float


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder)
        models.publish(repository / "slow", "slow", models.mlp(SLOW))
        models.publish(repository / "tiny", "tiny", models.mlp(TINY))
        models.publish(repository / "both", "slow", models.mlp(SLOW))
        models.publish(repository / "both", "tiny", models.mlp(TINY))
        overloaded, flooded, beside = [], [], []
        for number in range(arguments.rounds):
            overloaded.append(overload(repository / "slow"))
            flooded.append(flood(repository / "tiny"))
            beside.append(fairness(repository / "both"))
            found = (overloaded[-1], flooded[-1], beside[-1])
            print(f"round {number + 1}: {found}", file=sys.stderr)
    text = page(overloaded, flooded, beside)
    print(text)
    if arguments.write:
        replace("overload", text)


def request(name: str, rows: int, width: int) -> bytes:
    """Return a serialised request of random rows."""
    x = np.random.default_rng(0).standard_normal((rows, width)).astype(np.float32)
    return infer_request(name, x=x).SerializeToString()


@contextmanager
def callers(server: Server, body: bytes) -> Iterator[Crew]:
    """Start the processes that call."""
    target = Target(address=server.address, bodies=(body,), connections=4, timeout_s=DEADLINE_S)
    with Crew(target, 1) as crew:
        # Callers would be on other machines: here they must not take the server's CPUs from it.
        for process in active_children():
            os.setpriority(os.PRIO_PROCESS, process.pid or 0, CALLERS_NICE)
        yield crew


def measured(crew: Crew, load: Load) -> Tally:
    """Make a load for the period."""
    tally, _ = crew.measure(load, PERIOD)
    return tally


def overload(repository: Path) -> Overloaded:
    """Find the capacity of one worker, then offer three times as much."""
    body = request("slow", SLOW_ROWS, SLOW[0])
    with (
        serving(repository, "--workers", "1", "--log-level", "error", *ACCESS_LOG) as server,
        callers(server, body) as crew,
    ):
        full = measured(crew, Closed(concurrency=8))
        capacity = full.completed / full.seconds
        over = measured(crew, Open(rate=OVERLOAD * capacity))
        refused = over.statuses["RESOURCE_EXHAUSTED"]
        late = over.requests - over.answered - refused
        # Up to a hundred a second have a line; the first to come, which is no choice of ours.
        durations_us = [int(found) for found in re.findall(REFUSAL, server.log)]
        (refusal_p99_s,) = over.refusals.percentiles_s((99,))
        (lag_p99_s,) = over.lags.percentiles_s((99,))
        return Overloaded(
            capacity=capacity,
            goodput=over.completed / over.seconds / capacity,
            kept=over.answered / (over.answered + late),
            refused=refused / over.requests,
            refusal_p99_us=float(np.percentile(durations_us, 99)),
            caller_refusal_p99_us=refusal_p99_s * 1e6,
            send_lag_p99_us=lag_p99_s * 1e6,
        )


def flood(repository: Path) -> Flooded:
    """Send a tiny model more than its queue holds; every request must be answered somehow."""
    with tempfile.TemporaryDirectory() as folder:
        body = Path(folder) / "body"
        body.write_bytes(h2.framed(request("tiny", 1, 1)))
        limit = str(TINY_QUEUE_ROWS)
        flags = ("--workers", "1", "--max-queue-rows", limit, "--max-batch-size", limit)
        with serving(repository, *flags, "--log-level", "error") as server:
            result = h2.send(server.address, body, FLOOD)
            counted = requests_by_code(server, "tiny")
    return Flooded(
        sent=FLOOD.requests,
        answered=int(counted.get("OK", 0)),
        refused=int(counted.get("RESOURCE_EXHAUSTED", 0)),
        per_second=result.per_second,
        latency_p99_us=result.p99_us,
    )


def fairness(repository: Path) -> Beside:
    """Call the fast model alone, then beside the slow one whose queue is never empty."""
    with (
        serving(repository, "--workers", "1", "--log-level", "error") as server,
        callers(server, request("tiny", 1, 1)) as fast,
        callers(server, request("slow", SLOW_ROWS, SLOW[0])) as slow,
        ThreadPoolExecutor(1) as apart,
    ):
        fast.measure(FAST_LOAD, Period(duration_s=1.0, warmup_s=0.0))
        alone = during(server, lambda: measured(fast, FAST_LOAD))
        span = Period(duration_s=PERIOD.span_s + 3.0, warmup_s=0.0)
        saturating = apart.submit(slow.measure, Closed(concurrency=16), span)
        time.sleep(1.5)
        beside = during(server, lambda: measured(fast, FAST_LOAD))
        saturating.result()
    return Beside(alone, beside)


def during(server: Server, load: Callable[[], Tally]) -> float:
    """Return the 99th percentile of the tiny model's time in the server during a load, in us."""
    before = durations(server, "tiny")
    load()
    after = durations(server, "tiny")
    return quantile_us({edge: after[edge] - before.get(edge, 0.0) for edge in after}, 0.99)


def durations(server: Server, name: str) -> dict[float, float]:
    """Return how many requests took no longer than each bucket's edge, in seconds."""
    return {
        float(sample.labels["le"]): sample.value
        for sample in samples(server, "isotherm_request_duration_seconds_bucket")
        if sample.labels["model"] == name
    }


def requests_by_code(server: Server, name: str) -> dict[str, float]:
    """Return a model's requests by the status that they ended with."""
    return {
        sample.labels["code"]: sample.value
        for sample in samples(server, "isotherm_requests_total")
        if sample.labels["model"] == name
    }


def samples(server: Server, name: str) -> list[Sample]:
    """Return one family's samples of that name."""
    _, text = server.get("/metrics")
    return [
        sample
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    ]


def quantile_us(cumulated: dict[float, float], share: float) -> float:
    """Return a quantile of a cumulated histogram, as Prometheus interpolates it."""
    wanted = share * cumulated[float("inf")]
    lower_s, below = 0.0, 0.0
    for edge_s, count in sorted(cumulated.items()):
        if count >= wanted:
            if edge_s == float("inf"):
                break
            return 1e6 * (lower_s + (edge_s - lower_s) * (wanted - below) / (count - below))
        lower_s, below = edge_s, count
    return 1e6 * lower_s


def page(
    overloaded: Sequence[Overloaded], flooded: Sequence[Flooded], beside: Sequence[Beside]
) -> str:
    """Return the section in Markdown."""
    capacity = median(one.capacity for one in overloaded)
    ratios = [one.beside_us / one.alone_us for one in beside]
    rounds = ", ".join(f"{ratio:.1f}" for ratio in ratios)
    late_us = median(one.send_lag_p99_us for one in overloaded)
    refused = median(one.refused / one.sent for one in flooded)
    lost = sum(one.sent - one.answered - one.refused for one in flooded)
    return "\n".join(
        (
            f"One worker; {machine()}; medians of {len(overloaded)} rounds.",
            "",
            f"**A model whose run dominates** ({'-'.join(map(str, SLOW))}, {SLOW_ROWS} rows a "
            f"request, every call with {DEADLINE_S * 1000:.0f} ms to its deadline): in a closed "
            f"loop the server answers {capacity:.0f} requests/s. Offered {OVERLOAD} times that:",
            "",
            "| goodput, of the capacity | accepted calls that kept their deadline | refused "
            "| p99 from arrival to refusal, in the server | at the caller |",
            "| --- | --- | --- | --- | --- |",
            f"| {median(one.goodput for one in overloaded):.0%} "
            f"| {median(one.kept for one in overloaded):.1%} "
            f"| {median(one.refused for one in overloaded):.0%} "
            f"| {median(one.refusal_p99_us for one in overloaded):.0f} us "
            f"| {median(one.caller_refusal_p99_us for one in overloaded):.0f} us |",
            "",
            f"The callers were themselves late by {late_us:.0f} us at p99, which counts.",
            "",
            f"**A tiny model, where the wire is the limit** ({'-'.join(map(str, TINY))}, "
            f"{FLOOD.connections * FLOOD.streams} requests in flight, room for {TINY_QUEUE_ROWS} "
            f"rows): {median(one.per_second for one in flooded):.0f} requests/s were ended, "
            f"{refused:.1%} of them by a refusal, 99 % of all within "
            f"{median(one.latency_p99_us for one in flooded) / 1000:.0f} ms; "
            f"{lost} of {sum(one.sent for one in flooded)} were lost.",
            "",
            f"**A fast model beside a slow one that is saturated** (one instance each, "
            f"{FAST_LOAD.rate:.0f} requests/s to the fast one): its p99 from arrival to answer is "
            f"{median(one.alone_us for one in beside):.0f} us alone and "
            f"{median(one.beside_us for one in beside):.0f} us beside the other: "
            f"{median(ratios):.1f} times (by round: {rounds}).",
            "",
        )
    )


if __name__ == "__main__":
    main()
