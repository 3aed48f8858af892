"""A stream against the same training in memory: rows a second, and what each of them needs.

    python tests/bench/stream.py [--rounds 15] [--write]

Both train the same network by the same steps on the same rows, on one thread; the stream may keep a
quarter of the table. Contenders run in turn, round by round, so that noise hits all alike; medians
and their ratios are what counts. `--write` puts the table into docs/performance.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402  the repository's root must be importable first
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

from isotherm.trainer import data, loop  # noqa: E402
from isotherm.trainer.batches import Rows  # noqa: E402
from isotherm.trainer.config import TrainConfig, validated  # noqa: E402
from isotherm.trainer.encoding import Encoding  # noqa: E402
from isotherm.trainer.scaling import Scaling  # noqa: E402
from isotherm.trainer.stack import Single  # noqa: E402
from isotherm.trainer.stream import fit, prepare  # noqa: E402
from isotherm.trainer.stream.shuffle import Plan  # noqa: E402
from isotherm.trainer.world import Alone  # noqa: E402
from tests.bench.page import machine, replace  # noqa: E402

ROWS, FEATURES, BATCH = 1_000_000, 32, 4096
GROUP_ROWS = 8192
# How often each way is prepared anew.
PREPARED = 3
SORTED_ROWS, SORTED_EPOCHS = 400_000, 3
MIB = 2**20
TABLE_MIB = ROWS * (FEATURES + 1) * 4 // MIB
KINDS = {"float32": np.float32, "float64": np.float64}


class Seconds(NamedTuple):
    """How long something took, and how much all threads worked meanwhile."""

    wall: float
    cpu: float


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    # On a machine that others use, threads that wait for each other measure the others.
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        files = {name: write(Path(folder) / f"{name}.parquet", KINDS[name]) for name in KINDS}
        text = "\n".join(
            [
                f"Medians of {arguments.rounds} interleaved rounds on {machine()}, torch "
                f"{torch.__version__}, pyarrow {pa.__version__}.\n",
                f"A {FEATURES}-64-1 network on {ROWS} rows, batches of {BATCH}, Adam, one thread, "
                f"row groups of {GROUP_ROWS} rows; the stream may keep a quarter of the table, and "
                "reads ahead in a second thread.\n",
                table(files, arguments.rounds),
                order(Path(folder)),
            ]
        )
    print(text)
    if arguments.write:
        replace("stream", text)


def write(path: Path, kind: type) -> Path:
    """Write random columns, one of which depends on two others."""
    rng = np.random.default_rng(0)
    names = [f"x{index}" for index in range(FEATURES)]
    schema = pa.schema([(name, pa.from_numpy_dtype(kind)) for name in (*names, "y")])
    with pq.ParquetWriter(path, schema, use_dictionary=False) as writer:
        for first in range(0, ROWS, GROUP_ROWS):
            x: Any = rng.normal(size=(min(GROUP_ROWS, ROWS - first), FEATURES)).astype(kind)
            columns = [*x.T, x[:, 0] * x[:, 1]]
            writer.write_table(pa.table([pa.array(one) for one in columns], schema=schema))
    return path


def table(files: dict[str, Path], rounds: int) -> str:
    """Compare what is done before the epochs, and an epoch."""
    lines = [
        "| file | training | before the epochs | an epoch | its CPU | rows/s | against memory |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, path in files.items():
        found = measured(configuration(path), rounds)
        size = path.stat().st_size / MIB
        for way, (before, epoch, cpu) in found.items():
            ratio = found["in memory"][1] / epoch
            lines.append(
                f"| {name}, {size:.0f} MiB | {way} | {before:.1f} s | {epoch:.2f} s | "
                f"{cpu:.2f} s | {ROWS / epoch:,.0f} | {ratio:.2f} |"
            )
    return "\n".join(lines) + "\n"


def order(folder: Path) -> str:
    """Compare what is learned from a file that is sorted by its target."""
    names = [f"x{index}" for index in range(FEATURES)]
    whole = pq.read_table(folder / "float32.parquet").slice(0, SORTED_ROWS)
    ranked = whole.sort_by("y")
    files = {"in random order": whole, "sorted by its target": ranked}
    rows = []
    for name, found in files.items():
        path = folder / "order.parquet"
        pq.write_table(found, path, row_group_size=SORTED_ROWS // 100)
        rows.append((name, loss(path)))
    shuffled = Plan.order
    try:
        setattr(Plan, "order", lambda plan, _: np.arange(len(plan.groups)))  # noqa: B010
        rows.append(("sorted, its row groups read as they lie", loss(path)))
    finally:
        setattr(Plan, "order", shuffled)  # noqa: B010
    lines = [
        f"{len(names)} features, {SORTED_ROWS} rows in 100 row groups, a quarter in memory, "
        f"{SORTED_EPOCHS} epochs:\n",
        "| the file | loss on rows held out |",
        "| --- | --- |",
        *(f"| {name} | {value:.4f} |" for name, value in rows),
    ]
    return "\n".join(lines) + "\n"


def loss(path: Path) -> float:
    """Return the loss on rows held out after some epochs, of standardised targets."""
    memory = SORTED_ROWS * (FEATURES + 1) * 4 // 4 // MIB
    prepared = prepare.prepare(configuration(path, memory, SORTED_EPOCHS), world=Alone())
    learners, training = fit.training(prepared, {"network": network()}, world=Alone())
    training.run()
    return learners[-1].history.validation[-1]


def configuration(path: Path, memory: int = TABLE_MIB // 4, epochs: int = 1) -> TrainConfig:
    """Return the settings of both."""
    return validated(
        {
            "name": "bench",
            "data": {
                "file": path,
                "features": [f"x{index}" for index in range(FEATURES)],
                "targets": ["y"],
                "stream": True,
                "memory": memory,
            },
            "fit": {"epochs": epochs, "batch_size": BATCH, "learning_rate": 0.002},
        }
    )


def network() -> nn.Sequential:
    """Return the network that both train."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, 1))


def in_memory(config: TrainConfig) -> Callable[[], object]:
    """Read all, and return what trains for an epoch."""
    read = data.read(config.data)
    x = Encoding.of(read.x, read.features).encode(read.x)
    y = Scaling.of(read.y).standardise(read.y)
    rows = Rows(
        x=torch.tensor(x, dtype=torch.float32)[None],
        y=torch.tensor(y, dtype=torch.float32)[None],
        training=torch.full((1, ROWS), 1 / ROWS),
        held_out=torch.zeros(1, ROWS),
    )
    return partial(loop.fit, Single(network()), rows, config.fit)


def stream(config: TrainConfig) -> Callable[[], object]:
    """Pass over the file as a stream does before its epochs, and return the same."""
    alone = Alone()
    prepared = prepare.prepare(config, world=alone)

    def epoch() -> None:
        _, training = fit.training(prepared, {"network": network()}, world=alone)
        training.run()

    return epoch


def measured(config: TrainConfig, rounds: int) -> dict[str, tuple[float, float, float]]:
    """Return the seconds before the epochs, of an epoch, and of all its threads' work.

    They are medians of rounds in turn.

    One round more does not count.
    """
    before: dict[str, list[Seconds]] = {}
    epochs: dict[str, list[Seconds]] = {}
    for _ in range(PREPARED):
        ways = {
            name: timed(partial(way, config), before.setdefault(name, []))
            for name, way in {"in memory": in_memory, "stream": stream}.items()
        }
        for number in range(-(-rounds // PREPARED) + 1):
            for name, epoch in ways.items():
                timed(epoch, epochs.setdefault(name, []) if number else [])
    return {
        name: (
            median(one.wall for one in before[name]),
            median(one.wall for one in each),
            median(one.cpu for one in each),
        )
        for name, each in epochs.items()
    }


def timed(work: Callable[[], Any], seconds: list[Seconds]) -> Any:
    """Return what comes of some work, and note how long it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    done = work()
    seconds.append(Seconds(time.perf_counter() - wall, time.process_time() - cpu))
    return done


if __name__ == "__main__":
    main()
