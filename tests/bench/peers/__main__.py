"""Isotherm beside other servers, with the same ONNX file and the same load.

    python -m tests.bench.peers [--rounds 3] [--only Isotherm,Triton] [--json FILE] [--write]

Each round starts every server anew, one after the other and never two at once, so that noise hits
all alike; medians and ratios are what counts. A server's first answer to every question is compared
with a bare run of the model, and all later ones must be as long. Each peer has an environment of
its own, and the best settings that its documentation offers: they stand in its module.
`--from FILE` renders what `--json` kept.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.bench.page import replace
from tests.bench.peers import catalogue, limit, report
from tests.bench.peers.measure import Driver, Start
from tests.bench.peers.peer import Peer, Place, running
from tests.bench.peers.processes import adopt_orphans
from tests.bench.peers.record import Record
from tests.bench.peers.workloads import BUSY, CONCURRENCIES, MODELS, ROWS, WORKLOADS, title
from tests.support import models
from tests.support.ports import free_port

CELL_S = 1.5
# For slow peers, and for what they are not asked, so that a run stays well below the hour.
LESSER = 2 / 3
LIMIT_S = 0.5
ATTEMPTS = 2


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="beginnings of servers' names, with commas between")
    parser.add_argument("--budget", type=float, default=CELL_S, help="seconds a cell")
    parser.add_argument("--json", type=Path, help="where all raw cells are kept")
    parser.add_argument("--from", dest="kept", type=Path, help="render these, measure nothing")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    # Whoever stops us stops the server too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if arguments.kept:
        record = Record.read(arguments.kept)
    else:
        record = Record.begin(arguments.rounds)
        measure(record, catalogue.peers(arguments.only), arguments.budget, arguments.json)
    text = report.page(record)
    print(text)
    if arguments.write:
        replace("peers", text)


@dataclass(frozen=True, slots=True)
class Asked:
    """A model in a file, and by rows a request what is asked and what must be answered."""

    title: str
    model: Path
    inputs: dict[int, np.ndarray]
    outputs: dict[int, np.ndarray]


def measure(record: Record, peers: list[Peer], budget_s: float, kept: Path | None) -> None:
    """Run the rounds, the servers in turn; one that fails twice is left out from then on."""
    failures: Counter[str] = Counter()
    for peer in peers:
        try:
            record.add(peer)
        except Exception as error:  # noqa: BLE001  whatever it is, the others can be measured
            excuse(record, peer, error)
            failures[peer.name] = ATTEMPTS
    adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        questions = [ask(Path(name), widths) for widths in MODELS]
        for number in range(record.rounds):
            for asked in questions:
                record.limits += [
                    limit.measure(asked.model, asked.title, asked.inputs[rows], LIMIT_S)
                    for rows in ROWS
                ]
                for peer in peers:
                    if failures[peer.name] < ATTEMPTS and not visit(
                        record, peer, asked, number, budget_s
                    ):
                        failures[peer.name] += 1
                if kept:
                    record.write(kept)


def ask(folder: Path, widths: tuple[int, ...]) -> Asked:
    """Make a model, questions, and their answers."""
    file = folder / f"{title(widths)}.onnx"
    file.write_bytes(models.mlp(widths).SerializeToString())
    random = np.random.default_rng(0)
    inputs = {rows: random.standard_normal((rows, widths[0])).astype(np.float32) for rows in ROWS}
    bare = limit.session(file)
    outputs = {rows: limit.run(bare, x) for rows, x in inputs.items()}
    return Asked(title(widths), file, inputs, outputs)


def visit(record: Record, peer: Peer, asked: Asked, number: int, budget_s: float) -> bool:
    """Start one server, send all loads of one model, and end it; tell whether all went well."""
    began = time.monotonic()
    folder = asked.model.parent / re.sub(r"\W+", "-", f"{peer.name} {asked.title}")
    folder.mkdir(exist_ok=True)
    place = Place(asked.model, folder, free_port())
    try:
        with running(peer, place, asked.inputs[1], asked.outputs[1]) as server:
            driver = Driver(peer.wire, server, folder / "body")
            driver.ask(asked.inputs[1], asked.outputs[1])
            driver.warm_up(BUSY)
            for workload in WORKLOADS:
                loads = CONCURRENCIES if peer.everything else workload.everybody
                if title(workload.widths) != asked.title or not loads:
                    continue
                lesser = LESSER if not peer.everything or not workload.everybody else 1.0
                driver.ask(asked.inputs[workload.rows], asked.outputs[workload.rows])
                where = (peer.name, asked.title, workload.rows, number)
                for load in loads:
                    record.cells.append(driver.cell(where, load, budget_s * lesser))
            memory = server.tree.memory()
            record.starts.append(Start(peer.name, asked.title, number, server.start_s, *memory))
    except (Exception, SystemExit) as error:  # noqa: BLE001  the others can still be measured
        excuse(record, peer, error)
        return False
    print(
        f"round {number + 1}, {asked.title}, {peer.name}: {time.monotonic() - began:.0f} s",
        file=sys.stderr,
    )
    return True


def excuse(record: Record, peer: Peer, error: BaseException) -> None:
    """Say why a peer was not measured, or not to the end."""
    record.left_out[peer.name] = f"{type(error).__name__}: {error}"
    print(f"{peer.name} failed: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
