"""Transport core against transport aio under the same load, and core's memory over a long run.

    python tests/bench/transports.py [--rounds 3] [--write]

Needs `h2load` (Debian: nghttp2-client). The servers run one after the other on this machine, round
by round, on fresh connections, so that noise hits both alike; medians and their ratio are what
counts. `--write` puts the tables into docs/performance.md. A benchmark prints; it only insists that
every request was answered, since a fast wrong answer is worth nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402  the repository's root must be importable first

from tests.bench import h2  # noqa: E402
from tests.bench.page import machine, replace  # noqa: E402
from tests.support import models  # noqa: E402
from tests.support.rpc import infer_request  # noqa: E402
from tests.support.server import Server, eventually, serving  # noqa: E402

MODEL = "mlp"
OK = f'isotherm_requests_total{{code="OK",model="{MODEL}",version="1"}}'
CPU = 'isotherm_worker_cpu_seconds_total{worker="0"}'
RSS = 'isotherm_worker_resident_memory_bytes{worker="0"}'
ROWS = f'isotherm_inferences_total{{model="{MODEL}",version="1"}}'
EXECUTIONS = f'isotherm_executions_total{{model="{MODEL}",version="1"}}'


BUSY = {"core": h2.Load(60_000, 16, 4), "aio": h2.Load(12_000, 16, 4)}
ALONE = h2.Load(3_000, 1, 1)
LONG = h2.Load(200_000, 16, 4)


@dataclass(frozen=True, slots=True)
class Run:
    """What one load showed."""

    per_second: float
    mean_us: float
    cpu_us: float
    rows_per_batch: float


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "models"
        models.publish(repository, MODEL, models.mlp())
        body = Path(folder) / "request"
        body.write_bytes(h2.frame(infer_request(MODEL, x=np.array([[0.5]], np.float32))))
        busy, alone = measure(repository, body, arguments.rounds)
        memory = measure_memory(repository, body)
    text = report(busy, alone, memory, arguments.rounds)
    print(text)
    if arguments.write:
        replace("transports", text)


def measure(
    repository: Path, body: Path, rounds: int
) -> tuple[dict[str, list[Run]], dict[str, list[Run]]]:
    """Run the rounds, the transports in turn."""
    busy: dict[str, list[Run]] = {"core": [], "aio": []}
    alone: dict[str, list[Run]] = {"core": [], "aio": []}
    for number in range(rounds):
        for transport, runs in busy.items():
            with serving(repository, "--transport", transport, "--log-level", "error") as server:
                load(server, body, h2.Load(2_000, 4, 4))
                runs.append(load(server, body, BUSY[transport]))
                alone[transport].append(load(server, body, ALONE))
            print(f"round {number + 1}, {transport}: {runs[-1]}", file=sys.stderr)
    return busy, alone


def measure_memory(repository: Path, body: Path) -> tuple[float, float]:
    """Return core's resident bytes after a warm-up, and after a long load on top of it."""
    with serving(repository, "--transport", "core", "--log-level", "error") as server:
        load(server, body, h2.Load(20_000, 16, 4))
        before = server.metric(RSS)
        load(server, body, LONG)
        return before, server.metric(RSS)


def load(server: Server, body: Path, what: h2.Load) -> Run:
    """Send a load; every request must have been answered with OK, as the server itself counts."""
    names = (OK, CPU, ROWS, EXECUTIONS)
    before = [server.metric(name) for name in names]
    seen = h2.send(server.address, body, what)
    # HTTP says nothing of gRPC's status: only the server's own count does.
    if not eventually(lambda: server.metric(OK) - before[0] == what.requests):
        answered = server.metric(OK) - before[0]
        raise SystemExit(f"{what.requests} requests were sent, {answered:.0f} answered with OK")
    after = [server.metric(name) for name in names]
    _, cpu_s, rows, executions = (new - old for new, old in zip(after, before, strict=True))
    return Run(
        per_second=seen.per_second,
        mean_us=seen.mean_us,
        cpu_us=cpu_s / what.requests * 1e6,
        rows_per_batch=rows / executions,
    )


def report(
    busy: dict[str, list[Run]],
    alone: dict[str, list[Run]],
    memory: tuple[float, float],
    rounds: int,
) -> str:
    """Return the tables in Markdown."""
    ratios = [
        core.per_second / aio.per_second
        for core, aio in zip(busy["core"], busy["aio"], strict=True)
    ]
    before, after = (value / 2**20 for value in memory)
    rows = [row(transport, busy[transport], alone[transport]) for transport in busy]
    lines = [
        f"One-row `ModelInfer` of a 1-13-1 network on {machine()}; load from `h2load` on the same "
        f"machine; medians of {rounds} interleaved rounds.",
        "",
        "| transport | requests/s, 16 x 4 | server CPU per request | rows per batch "
        "| mean latency, 16 x 4 | mean latency, 1 x 1 |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
        f"`core` served {median(ratios):.1f} times the requests of `aio` (by round: "
        f"{', '.join(f'{ratio:.1f}' for ratio in ratios)}); no request failed.",
        "",
        f"Memory of the worker on `core`: {before:.1f} MiB after 20 000 requests, {after:.1f} MiB "
        f"after {LONG.requests} more.",
    ]
    return "\n".join(lines) + "\n"


def row(transport: str, busy: list[Run], alone: list[Run]) -> str:
    """Return a transport's line of the table."""
    cells = (
        f"`{transport}`",
        f"{median(run.per_second for run in busy):.0f}",
        f"{median(run.cpu_us for run in busy):.0f} us",
        f"{median(run.rows_per_batch for run in busy):.1f}",
        f"{median(run.mean_us for run in busy):.0f} us",
        f"{median(run.mean_us for run in alone):.0f} us",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
