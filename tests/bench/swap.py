"""A hundred version swaps under load: failed calls, p99 beside p99 without swaps, memory.

    python tests/bench/swap.py [--rounds 3] [--swaps 100] [--write]

Callers in a process of their own ask without pause. In each round their latencies are taken for a
while without a swap, and then while version after version is published and loaded; so noise hits
both. A benchmark prints; it only insists that no call failed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import grpc  # noqa: E402  the repository's root must be importable first
import numpy as np  # noqa: E402

from isotherm.v1 import open_inference_pb2 as pb  # noqa: E402
from tests.bench.page import machine, replace  # noqa: E402
from tests.support import models  # noqa: E402
from tests.support.rpc import call, infer_request  # noqa: E402
from tests.support.server import Server, serving  # noqa: E402

CALLERS = 4
QUIET_S = 5.0
# As fast as they can, swaps would follow each other without a pause for the callers.
PAUSE_S = 0.1
RSS = 'isotherm_worker_resident_memory_bytes{worker="0"}'


@dataclass(frozen=True, slots=True)
class Round:
    """What one round showed: latencies in microseconds, memory in bytes."""

    quiet_p99_us: float
    swapping_p99_us: float
    swaps_per_s: float
    calls: int
    rss: tuple[float, float]


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    rounds = []
    for number in range(arguments.rounds):
        rounds.append(measure(arguments.swaps))
        print(f"round {number + 1}: {rounds[-1]}", file=sys.stderr)
    text = report(rounds, arguments.swaps)
    print(text)
    if arguments.write:
        replace("swaps", text)


def measure(swaps: int) -> Round:
    """Run one round on a server of its own."""
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "models"
        models.publish(repository, "m", models.mlp(seed=1))
        # Made before: the machine is to be busy with swapping, not with making versions.
        made = Path(folder) / "made"
        for version in range(2, 4 + swaps):
            models.publish(made, "m", models.mlp(seed=version), version)
        flags = (
            "--model-control",
            "explicit",
            "--load-model",
            "m",
            "--log-level",
            "error",
            "--vetting",
            "standard",
        )
        with (
            serving(repository, *flags) as server,
            grpc.insecure_channel(server.address) as channel,
        ):
            callers, line = start_callers(server)
            time.sleep(1)
            line.send("mark")
            time.sleep(QUIET_S)
            line.send("mark")
            # The first swaps pay for what every process does once.
            for version in (2, 3):
                swap(channel, made, repository, version)
            before = server.metric(RSS)
            line.send("mark")
            started = time.monotonic()
            for version in range(4, 4 + swaps):
                swap(channel, made, repository, version)
                time.sleep(PAUSE_S)
            elapsed_s = time.monotonic() - started
            line.send("mark")
            after = server.metric(RSS)
            line.send("stop")
            latencies, failures = line.recv()
            callers.join()
    if failures:
        raise SystemExit(f"{len(failures)} calls failed: {failures[0]}")
    return Round(
        quiet_p99_us=p99_us(latencies[1]),
        swapping_p99_us=p99_us(latencies[3]),
        swaps_per_s=swaps / elapsed_s,
        calls=len(latencies[3]),
        rss=(before, after),
    )


def swap(channel: grpc.Channel, made: Path, repository: Path, version: int) -> None:
    """Publish a version and load it; the one before it is no longer served, and removed."""
    (made / "m" / str(version)).rename(repository / "m" / str(version))
    call(channel, "RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="m"))
    shutil.rmtree(repository / "m" / str(version - 1))


def start_callers(server: Server) -> tuple[multiprocessing.Process, Connection]:
    """Start the callers; each "mark" sent to them begins a new list of latencies."""
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=ask, args=(server.address, theirs))
    process.start()
    return process, ours  # type: ignore[return-value]


def ask(address: str, line: Connection) -> None:
    """Call without pause until told to stop; send back latencies by mark, and failures."""
    latencies: list[list[float]] = [[]]
    failures: list[str] = []
    stop = threading.Event()
    request = infer_request("m", x=np.ones((1, 1), np.float32))

    def loop() -> None:
        with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            while not stop.is_set():
                start = time.perf_counter()
                try:
                    call(channel, "ModelInfer", request)
                except grpc.RpcError as error:
                    failures.append(str(error))
                latencies[-1].append(time.perf_counter() - start)

    threads = [threading.Thread(target=loop) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    while line.recv() == "mark":
        latencies.append([])
    stop.set()
    for thread in threads:
        thread.join()
    line.send((latencies, failures))


def p99_us(latencies_s: list[float]) -> float:
    """Return the 99th percentile in microseconds."""
    return float(np.percentile(latencies_s, 99)) * 1e6


def report(rounds: list[Round], swaps: int) -> str:
    """Return the findings in Markdown."""
    ratios = [run.swapping_p99_us / run.quiet_p99_us for run in rounds]
    grown = [(run.rss[1] - run.rss[0]) / 2**20 for run in rounds]
    lines = [
        f"{swaps} versions of a 1-13-1 network published, loaded and retired, one after the other, "
        f"under {CALLERS} callers without pause; {machine()}; medians of {len(rounds)} rounds.",
        "",
        "| | without swaps | while swapping | ratio |",
        "| --- | --- | --- | --- |",
        f"| p99 of a call | {median(r.quiet_p99_us for r in rounds):.0f} us "
        f"| {median(r.swapping_p99_us for r in rounds):.0f} us | {median(ratios):.2f} |",
        "",
        f"{median(r.swaps_per_s for r in rounds):.1f} swaps a second; "
        f"{sum(r.calls for r in rounds)} calls while swapping, none failed. The worker's memory "
        f"changed by {median(grown):+.1f} MiB over the {swaps} swaps.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
