"""Isotherm beside other servers, with the same ONNX file and the same load.

    python tests/bench/peers.py [--rounds 3] [--write]

So far the peer is Triton, with one and with two instances behind its Python backend: its C++ ONNX
Runtime backend is not on the package index. Each round starts every server anew, one after the
other and never two at once, so that noise hits all alike; medians and ratios are what counts.
Before each load, one answer is checked against the others'.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import grpc  # noqa: E402  the repository's root must be importable first
import numpy as np  # noqa: E402

from isotherm.v1 import open_inference_pb2 as pb  # noqa: E402
from tests.bench import h2  # noqa: E402
from tests.bench.page import machine, replace  # noqa: E402
from tests.support import models, triton  # noqa: E402
from tests.support.rpc import call, infer_request, outputs_of  # noqa: E402
from tests.support.server import serving  # noqa: E402

# (address, pid of the process above all others)
Running = AbstractContextManager[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Workload:
    """One model, rows a request, and the loads that are sent."""

    title: str
    widths: tuple[int, ...]
    rows: int
    busy: h2.Load
    alone: h2.Load


WORKLOADS = (
    Workload("1-13-1, 1 row", (1, 13, 1), 1, h2.Load(40_000, 16, 4), h2.Load(2_000, 1, 1)),
    Workload(
        "64-256-256-8, 32 rows",
        (64, 256, 256, 8),
        32,
        h2.Load(12_000, 16, 1),
        h2.Load(1_000, 1, 1),
    ),
)


@dataclass(frozen=True, slots=True)
class Run:
    """What one server showed in one round."""

    per_second: float
    cpu_us: float
    busy_us: float
    alone_us: float


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    lines = [
        f"The same ONNX file behind each server; {machine()}; load from `h2load` on the same "
        f"machine, 16 connections; medians of {arguments.rounds} interleaved rounds; Triton 2.51 "
        "(Python backend: its C++ ONNX Runtime backend is not on the package index).",
        "",
    ]
    for workload in WORKLOADS:
        lines += table(workload, measure(workload, arguments.rounds))
    text = "\n".join(lines)
    print(text)
    if arguments.write:
        replace("peers", text)


def measure(workload: Workload, rounds: int) -> dict[str, list[Run]]:
    """Run the rounds, the servers in turn."""
    runs: dict[str, list[Run]] = {}
    with tempfile.TemporaryDirectory() as folder:
        servers = prepare(Path(folder), workload)
        body = Path(folder) / "request"
        x = np.random.default_rng(0).standard_normal((workload.rows, workload.widths[0]))
        request = infer_request("m", x=x.astype(np.float32))
        body.write_bytes(h2.frame(request))
        expected: np.ndarray | None = None
        for number in range(rounds):
            for name, start in servers.items():
                with start() as (address, pid):
                    expected = check(address, request, expected)
                    run = load(address, pid, body, workload)
                runs.setdefault(name, []).append(run)
                print(f"{workload.title}, round {number + 1}, {name}: {run}", file=sys.stderr)
    return runs


def prepare(folder: Path, workload: Workload) -> dict[str, Callable[[], Running]]:
    """Put the model into every server's repository; return how to start them."""
    model = models.mlp(workload.widths)
    models.publish(folder / "ours", "m", model)
    with ours(folder / "ours", 1) as (address, _), grpc.insecure_channel(address) as channel:
        config = call(channel, "ModelConfig", pb.ModelConfigRequest(name="m")).config
    for instances in (1, 2):
        repository = folder / f"triton-{instances}"
        triton.publish(repository, config, model.SerializeToString(), instances=instances)
    return {
        "Isotherm, 1 worker": lambda: ours(folder / "ours", 1),
        "Triton, 1 instance": lambda: triton.triton(folder / "triton-1"),
        "Isotherm, 2 workers": lambda: ours(folder / "ours", 2),
        "Triton, 2 instances": lambda: triton.triton(folder / "triton-2"),
    }


@contextmanager
def ours(repository: Path, workers: int) -> Iterator[tuple[str, int]]:
    """Run Isotherm."""
    flags = ("--workers", str(workers), "--log-level", "error")
    with serving(repository, *flags) as server:
        yield server.address, server.process.pid


def check(address: str, request: pb.ModelInferRequest, expected: np.ndarray | None) -> np.ndarray:
    """Ask once; the answer must be the one that the other servers gave."""
    with grpc.insecure_channel(address) as channel:
        answer = outputs_of(call(channel, "ModelInfer", request))["y"]
    if expected is not None:
        np.testing.assert_allclose(expected, answer, rtol=1e-5, atol=1e-6)
    return answer


def answered(address: str) -> int:
    """Return how many requests a server says it has answered with OK."""
    with grpc.insecure_channel(address) as channel:
        answer = call(channel, "ModelStatistics", pb.ModelStatisticsRequest(name="m"))
    return int(sum(stats.inference_stats.success.count for stats in answer.model_stats))


def load(address: str, pid: int, body: Path, workload: Workload) -> Run:
    """Warm up, then send both loads; every request must have been answered with OK."""
    h2.send(address, body, h2.Load(1_000, 4, 4))
    before, cpu = answered(address), h2.cpu_seconds(pid)
    busy = h2.send(address, body, workload.busy)
    cpu_us = (h2.cpu_seconds(pid) - cpu) / workload.busy.requests * 1e6
    found = answered(address) - before
    if found != workload.busy.requests:
        raise SystemExit(f"{workload.busy.requests} requests were sent, {found} answered with OK")
    alone = h2.send(address, body, workload.alone)
    return Run(busy.per_second, cpu_us, busy.mean_us, alone.mean_us)


def table(workload: Workload, runs: dict[str, list[Run]]) -> list[str]:
    """Return one workload's table in Markdown, with the ratios of the best."""
    streams = workload.busy.streams
    lines = [
        f"**{workload.title}**",
        "",
        f"| server | requests/s, 16 x {streams} | server CPU per request | mean latency, "
        f"16 x {streams} | mean latency, 1 x 1 |",
        "| --- | --- | --- | --- | --- |",
    ]
    middle = {name: _median(found) for name, found in runs.items()}
    lines += [
        f"| {name} | {run.per_second:.0f} | {run.cpu_us:.0f} us | {run.busy_us:.0f} us "
        f"| {run.alone_us:.0f} us |"
        for name, run in middle.items()
    ]
    us = [run for name, run in middle.items() if name.startswith("Isotherm")]
    them = [run for name, run in middle.items() if name.startswith("Triton")]
    speed = max(run.per_second for run in us) / max(run.per_second for run in them)
    cpu = min(run.cpu_us for run in us) / min(run.cpu_us for run in them)
    alone = min(run.alone_us for run in us) / min(run.alone_us for run in them)
    lines += [
        "",
        f"At the best of each: {speed:.2f} times Triton's requests/s, {cpu:.2f} times its CPU per "
        f"request, {alone:.2f} times its latency at 1 x 1.",
        "",
    ]
    return lines


def _median(runs: list[Run]) -> Run:
    return Run(
        median(run.per_second for run in runs),
        median(run.cpu_us for run in runs),
        median(run.busy_us for run in runs),
        median(run.alone_us for run in runs),
    )


if __name__ == "__main__":
    main()
