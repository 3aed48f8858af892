"""The server by itself: where its CPU goes, what observing costs, its start, memory and scaling.

    python tests/bench/server.py [--rounds 5] [--write]

Variants are measured in interleaved rounds; medians count. Load comes from `h2load`.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import grpc  # noqa: E402  the repository's root must be importable first
import numpy as np  # noqa: E402

from isotherm.client.cli.bench.crew import Crew  # noqa: E402
from isotherm.client.cli.bench.load import Closed, Period, Target  # noqa: E402
from isotherm.v1 import open_inference_pb2 as pb  # noqa: E402
from tests.bench import h2, replay  # noqa: E402
from tests.bench.page import machine, replace  # noqa: E402
from tests.support import models, trained  # noqa: E402
from tests.support.ports import free_port  # noqa: E402
from tests.support.rpc import infer_request  # noqa: E402
from tests.support.server import command, serving  # noqa: E402

QUIET = ("--log-level", "error")
STARTS = 10
BUSY = h2.Load(20_000, 16, 4)
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
UNOBSERVED = Path(__file__).parent / "unobserved"
RECONNECT = [(f"grpc.{name}_reconnect_backoff_ms", 20) for name in ("initial", "min", "max")]


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models.publish(folder / "one", "m", models.mlp())
        lines = [f"{machine()}; medians of {arguments.rounds} interleaved rounds.", ""]
        lines += start_and_memory(folder)
        lines += cpu(folder, arguments.rounds)
        lines += observing(folder, arguments.rounds)
        lines += scaling(folder, arguments.rounds)
    text = "\n".join(lines)
    print(text)
    if arguments.write:
        replace("server", text)


def body(folder: Path, name: str = "m", rows: int = 1) -> Path:
    """Write a request of random rows as it goes over the wire; return where."""
    path = folder / f"body-{name}-{rows}"
    x = np.random.default_rng(0).standard_normal((rows, 1)).astype(np.float32)
    path.write_bytes(h2.frame(infer_request(name, x=x)))
    return path


def start_and_memory(folder: Path) -> list[str]:
    """Start a server again and again until it answers; then weigh one after some load."""
    starts = [first_answer_s(folder / "one") for _ in range(STARTS)]
    with serving(folder / "one", "--workers", "1", *QUIET) as server:
        h2.send(server.address, body(folder), BUSY)
        (worker,) = children(server.process.pid)
        weights = [memory_mb(pid) for pid in (worker, server.process.pid)]
    (worker_rss, worker_pss), (parent_rss, parent_pss) = weights
    return [
        "**Start and memory** (one worker, one small model, vetting on)",
        "",
        f"From the command to the first answer: {median(starts):.2f} s (median of {STARTS}, "
        f"{min(starts):.2f} to {max(starts):.2f}). After {BUSY.requests} requests the worker "
        f"holds {worker_rss:.0f} MB resident (PSS {worker_pss:.0f}), the supervisor "
        f"{parent_rss:.0f} MB (PSS {parent_pss:.0f}).",
        "",
    ]


def first_answer_s(repository: Path) -> float:
    """Return the seconds from the command to the first answer."""
    port = free_port()
    flags = ("--grpc-port", str(port), "--metrics-port", str(free_port()), "--workers", "1")
    begin = time.perf_counter()
    process = subprocess.Popen([*command(repository), *flags, *QUIET])
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}", RECONNECT) as channel:
            infer: grpc.UnaryUnaryMultiCallable[pb.ModelInferRequest, bytes] = channel.unary_unary(
                h2.MODEL_INFER, request_serializer=pb.ModelInferRequest.SerializeToString
            )
            infer(infer_request("m", x=np.ones((1, 1), np.float32)), wait_for_ready=True)
        return time.perf_counter() - begin
    finally:
        process.terminate()
        process.wait()


def cpu(folder: Path, rounds: int) -> list[str]:
    """Share the CPU of a request out: our code by replay, the system's by the kernel's account."""
    rounds_of = []
    for _ in range(rounds):
        with serving(folder / "one", "--workers", "1", *QUIET) as server:
            h2.send(server.address, body(folder), h2.Load(2_000, 16, 4))
            before = usage(server.process.pid)
            h2.send(server.address, body(folder), BUSY)
            after = usage(server.process.pid)
        rounds_of.append([(b - a) / BUSY.requests for a, b in zip(before, after, strict=True)])
    user_s, system_s, waits, preemptions = (
        median(column) for column in zip(*rounds_of, strict=True)
    )
    stages = replay.stages(folder / "one", BUSY.connections * BUSY.streams, rounds)
    ours_us = sum(stages.values())
    rows = [*stages.items()]
    rows.append(("gRPC's core, its Python binding, the loop", user_s * 1e6 - ours_us))
    rows.append(("system calls", system_s * 1e6))
    return [
        f"**Where the CPU of a one-row request goes** ({BUSY.connections} x {BUSY.streams}, one "
        "worker)",
        "",
        "| stage | us a request |",
        "| --- | --- |",
        *(f"| {name} | {us:.1f} |" for name, us in rows),
        f"| all | {(user_s + system_s) * 1e6:.1f} |",
        "",
        f"The stages of our own code are replayed without a network, in batches of "
        f"{BUSY.connections * BUSY.streams}; the rest is what is left of the process's account. A "
        f"request costs {waits:.2f} waits and {preemptions:.2f} preemptions of a thread.",
        "",
    ]


def observing(folder: Path, rounds: int) -> list[str]:
    """Measure with nothing, with metrics, with drift too, and with an access log too."""
    undrifted = ("--drift-window", "0")
    variants: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
        "nothing": (undrifted, {"PYTHONPATH": str(UNOBSERVED)}),
        "metrics": (undrifted, {}),
        "metrics and drift": ((), {}),
        "metrics, drift and `--access-log 0.01`": (("--access-log", "0.01"), {}),
    }
    model, x = models.mlp(), np.random.default_rng(0).standard_normal((1000, 1))
    watched = models.with_contract(model, trained.contract(x, x))
    models.publish(folder / "watched", "m", watched)
    rates: dict[str, list[float]] = {name: [] for name in variants}
    costs_us: dict[str, list[float]] = {name: [] for name in variants}
    load = h2.Load(10_000, 16, 4)
    for _ in range(rounds):
        # Processes of one program differ by some percent for as long as they live: hence new ones.
        with ExitStack() as stack:
            servers = {}
            for name, (flags, environment) in variants.items():
                with changed(environment):
                    servers[name] = stack.enter_context(
                        serving(folder / "watched", "--workers", "1", *flags, *QUIET)
                    )
                h2.send(servers[name].address, body(folder), h2.Load(5_000, 16, 4))
            for number in range(4):
                order = [*servers.items()]
                for name, server in order if number % 2 else order[::-1]:
                    before_s = cpu_s(server.process.pid)
                    rates[name].append(h2.send(server.address, body(folder), load).per_second)
                    used_s = cpu_s(server.process.pid) - before_s
                    costs_us[name].append(used_s / load.requests * 1e6)
    lines = [
        "**What observing costs** (16 x 4, one worker)",
        "",
        "| switched on | requests/s | of nothing | CPU a request | of nothing |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, found in rates.items():
        cost_us = costs_us[name]
        lines.append(
            f"| {name} | {median(found):.0f} | {share(found, rates['nothing']):.1%} "
            f"| {median(cost_us):.1f} us | {share(cost_us, costs_us['nothing']):.1%} |"
        )
    return [
        *lines,
        "",
        "Median ratios of interleaved runs, each of the servers started anew several times, since "
        "one process is some percent faster or slower than the next for as long as it lives. CPU "
        "is that of the worker and the supervisor.",
        "",
    ]


def share(found: list[float], of: list[float]) -> float:
    """Return the median ratio of runs that followed each other."""
    return median(a / b for a, b in zip(found, of, strict=True))


def scaling(folder: Path, rounds: int) -> list[str]:
    """Measure over connections, workers, models and rows a request."""
    lines = ["**Scaling**, requests/s", "", "| | 1 worker | 2 workers |", "| --- | --- | --- |"]
    one = [
        (f"one row, {c} connections x {s}", body(folder), h2.Load(6_000, c, s))
        for c, s in ((1, 1), (1, 64), (4, 16), (16, 4), (64, 1))
    ]
    one += [
        (f"{rows} rows, 16 connections x 1", body(folder, rows=rows), h2.Load(4_000, 16, 1))
        for rows in (8, 64, 512)
    ]
    cells: dict[str, list[float]] = {}
    for workers in ("1", "2"):
        with serving(folder / "one", "--workers", workers, *QUIET) as server:
            for title, path, load in one:
                runs = [h2.send(server.address, path, load).per_second for _ in range(rounds)]
                cells.setdefault(title, []).append(median(runs))
        for count in (1, 10, 100):
            title = f"one row, 64 in flight over {count} models (callers in Python)"
            cells.setdefault(title, []).append(over_models(folder, count, workers))
    lines += [f"| {title} | {a:.0f} | {b:.0f} |" for title, (a, b) in cells.items()]
    return [*lines, ""]


def over_models(folder: Path, count: int, workers: str) -> float:
    """Return the requests/s of callers that go round so many models."""
    names = [f"m{number:02}" for number in range(count)]
    repository = folder / f"models-{count}"
    for name in names:
        if not (repository / name).exists():
            models.publish(repository, name, models.mlp())
    x = np.ones((1, 1), np.float32)
    bodies = tuple(infer_request(name, x=x).SerializeToString() for name in names)
    with serving(repository, "--workers", workers, *QUIET) as server:
        target = Target(address=server.address, bodies=bodies, connections=16, timeout_s=30)
        with Crew(target, 1) as crew:
            tally, _ = crew.measure(Closed(concurrency=64), Period(duration_s=3, warmup_s=1))
    return tally.completed / tally.seconds


def usage(supervisor: int) -> tuple[float, float, int, int]:
    """Return what a server's worker has used: user and system seconds, waits, preemptions."""
    (worker,) = children(supervisor)
    fields = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()
    waits = preemptions = 0
    for status in Path(f"/proc/{worker}/task").glob("*/status"):
        text = status.read_text()
        waits += int(found(r"^voluntary_ctxt_switches:\s+(\d+)", text))
        preemptions += int(found(r"^nonvoluntary_ctxt_switches:\s+(\d+)", text))
    return int(fields[11]) * TICK_S, int(fields[12]) * TICK_S, waits, preemptions


def cpu_s(supervisor: int) -> float:
    """Return the CPU seconds of a server's worker and of its supervisor."""
    fields = Path(f"/proc/{supervisor}/stat").read_text().rpartition(")")[2].split()
    user_s, system_s, *_ = usage(supervisor)
    return user_s + system_s + (int(fields[11]) + int(fields[12])) * TICK_S


def children(pid: int) -> list[int]:
    """Return the workers of a server; what vets its models has gone by then."""
    return [
        int(child)
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if b"isotherm.server.process" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def memory_mb(pid: int) -> tuple[float, float]:
    """Return a process's resident memory, and its share with what others use too, in MB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return tuple(int(found(rf"^{kind}:\s+(\d+)", text)) * 1024 / 1e6 for kind in ("Rss", "Pss"))  # type: ignore[return-value]


def found(pattern: str, text: str) -> str:
    """Return the group of a pattern that must be there."""
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        msg = f"no {pattern!r} in:\n{text}"
        raise SystemExit(msg)
    return match[1]


@contextmanager
def changed(environment: dict[str, str]) -> Iterator[None]:
    """Start what is started in the block with more in its environment."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


if __name__ == "__main__":
    main()
