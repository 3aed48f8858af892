"""The client beside tritonclient on one server, its streams beside h2load, its import.

    python tests/bench/client.py [--rounds 7] [--seconds 2] [--rows 1000000] [--quick] [--write]

Needs `h2load` (Debian: nghttp2-client). Every client runs in a process of its own and times itself;
all of them share two cores with the one server, in interleaved rounds: the medians' ratios count.
`--quick` shows in half a minute that everything runs; its figures say little.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.clients import imports, report  # noqa: E402  the root must be importable first
from tests.bench.clients.calls import MODEL  # noqa: E402
from tests.bench.clients.plan import (  # noqa: E402
    BATCHES,
    CALLED,
    CLIENTS,
    FEATURES,
    STREAMED,
    STREAMERS,
    WIDE,
    WIDE_WIDTHS,
    Growths,
    Rates,
    Rows,
)
from tests.bench.clients.process import Process, running  # noqa: E402
from tests.bench.clients.reference import Reference  # noqa: E402
from tests.bench.page import replace  # noqa: E402
from tests.support import models  # noqa: E402
from tests.support.server import Server, serving  # noqa: E402

CORES = 2
WARM_UP_S = 0.3
# h2load counts what was answered in its time: on a busy machine that needs some.
LEAST_S = 0.5


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each stretch of calls")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of each stream")
    parser.add_argument("--quick", action="store_true", help="two rounds, short, for a trial")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds, arguments.seconds, arguments.rows = 2, 0.3, 150_000
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    text = measure(arguments.rounds, arguments.seconds, arguments.rows)
    print(text)
    if arguments.write:
        replace("client", text)


def measure(rounds: int, seconds: float, rows: int) -> str:
    """Run everything and return the section."""
    imported = imports.import_ms(2 * rounds + 1)
    with tempfile.TemporaryDirectory() as name:
        repository = Path(name) / "models"
        doubling = models.with_contract(models.doubling(), models.doubling_contract())
        models.publish(repository, MODEL, doubling)
        models.publish(repository, WIDE, models.mlp(WIDE_WIDTHS))
        # A stream has more rows in flight than a queue usually takes.
        flags = ("--workers", "1", "--log-level", "error", "--max-queue-rows", "1000000")
        with serving(repository, *flags) as server:
            called = one_row(server, rounds, seconds)
            streamed = streams(server, Path(name), rounds, rows, max(seconds / 2, LEAST_S))
            grown = growth(server, rows)
    return report.page(called, streamed, grown, imported, rows)


def one_row(server: Server, rounds: int, seconds: float) -> Rows:
    """Have every client called by each number of callers, in turn."""
    seen: Rows = {(name, callers): [] for callers, names in CALLED.items() for name in names}
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(running(kind, server.address))
            for name, kind in CLIENTS.items()
        }
        for name, callers in seen:
            processes[name].one_row(callers, WARM_UP_S)
        for number in range(rounds):
            order = [*seen]
            for name, callers in order if number % 2 else order[::-1]:
                seen[name, callers].append(processes[name].one_row(callers, seconds))
            print(f"one row, round {number + 1} of {rounds}", file=sys.stderr)
    return seen


def streams(server: Server, folder: Path, rounds: int, rows: int, seconds: float) -> Rates:
    """Send the rows through each client's stream, and with h2load for so long, in turn."""

    def by_h2load(model: str, batch: int) -> float:
        return Reference(server, folder, model, batch).per_second(seconds)

    def by_client(process: Process, model: str, batch: int) -> float:
        return process.stream(model, FEATURES[model], rows, batch).per_second

    rates: Rates = {}
    with ExitStack() as stack:
        senders: dict[str, Callable[[str, int], float]] = {"h2load": by_h2load}
        for name, kind in STREAMERS.items():
            process = stack.enter_context(running(kind, server.address))
            senders[name] = partial(by_client, process)
        cells = [(model, batch) for model in STREAMED for batch in BATCHES]
        for number in range(-1, rounds):
            order = [*senders.items()]
            for model, batch in cells:
                for name, send in order if number % 2 else order[::-1]:
                    rate = send(model, batch)
                    # The first time only warms up.
                    if number >= 0:
                        rates.setdefault((model, batch, name), []).append(rate)
            print(f"streams, round {number + 1} of {rounds}", file=sys.stderr)
    return rates


def growth(server: Server, rows: int) -> Growths:
    """Return by how many MB the peak of a stream's second half exceeds the first's."""
    grown: Growths = {}
    for name, kind in STREAMERS.items():
        for batch in BATCHES:
            # The kernel never forgets a peak: each stream needs a fresh process.
            with running(kind, server.address) as process:
                seen = process.stream(WIDE, FEATURES[WIDE], rows, batch)
            grown[name, batch] = seen.grown_mb
    return grown


if __name__ == "__main__":
    main()
