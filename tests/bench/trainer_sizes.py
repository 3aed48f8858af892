"""Rows a second by network and size of the table: Isotherm beside loops that others write or sell.

Each contender takes one epoch of Adam with a shuffle. What goes through a DataLoader gets at most
LOADED_ROWS of the rows: its pace does not depend on how many there are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn

from isotherm.trainer import loop
from isotherm.trainer.batches import Rows
from isotherm.trainer.config import FitConfig, TrainConfig, validated
from isotherm.trainer.stack import Single
from isotherm.trainer.stream import fit
from isotherm.trainer.stream.prepare import prepare
from isotherm.trainer.world import Alone
from tests.bench import trainer_peers

FEATURES: Final = trainer_peers.FEATURES
BATCH: Final = trainer_peers.BATCH
# Units of each hidden layer.
NETWORKS: Final = ((64,), (256, 256))
SIZES: Final = (10_000, 100_000, 1_000_000)
LOADED_ROWS: Final = 100_000
# MiB: less than the largest table has, which is then read from its file in every epoch.
MEMORY: Final = 64
GROUP_ROWS: Final = 50_000

# Rows a second of a framework, and of the loop over slices in the same process; None: not there.
Peer = Callable[[str, int, tuple[int, ...]], tuple[float, float] | None]


def report(rounds: int, sizes: tuple[int, ...], peers: tuple[str, ...], peer: Peer) -> str:
    """Return the table: a line for each network and size."""
    names = ["slices", "DataLoader", *peers, "isotherm", "isotherm, bf16", "isotherm, streamed"]
    lines = [
        f"Rows a second, in thousands, of one epoch of Adam in batches of {BATCH}, one thread; "
        f"{FEATURES} features, one target. What goes through a DataLoader has at most "
        f"{LOADED_ROWS:,} rows; the stream may keep {MEMORY} MiB of its Parquet file:\n",
        f"| network | rows | {' | '.join(names)} |",
        "| --- |" + " --- |" * (len(names) + 1),
    ]
    for hidden in NETWORKS:
        for rows in sizes:
            pace = _paces(rounds, rows, hidden)
            for name in peers:
                measured = peer(name, min(rows, LOADED_ROWS), hidden)
                # Another process has another share of the machine: compared there, scaled here.
                if measured:
                    pace[name] = pace["slices"] * measured[0] / measured[1]
            figures = [f"{pace[name] / 1e3:,.0f}" if name in pace else "-" for name in names]
            network = "-".join(map(str, (FEATURES, *hidden, 1)))
            lines.append(f"| {network} | {rows:,} | {' | '.join(figures)} |")
    return "\n".join([*lines, ""])


def _paces(rounds: int, rows: int, hidden: tuple[int, ...]) -> dict[str, float]:
    x, y = trainer_peers.table(rows)
    network = trainer_peers.network(hidden)
    few = min(rows, LOADED_ROWS)
    with tempfile.TemporaryDirectory() as folder:
        streamed, learned = _streamed(Path(folder) / "table.parquet", x, y, hidden)
        work: dict[str, trainer_peers.Work] = {
            "slices": lambda: trainer_peers.sliced(network, x, y),
            "DataLoader": lambda: trainer_peers.loaded(network, x[:few], y[:few]),
            "isotherm": lambda: _in_memory(network, x, y, FitConfig(epochs=1, batch_size=BATCH)),
            "isotherm, bf16": lambda: _in_memory(
                network, x, y, FitConfig(epochs=1, batch_size=BATCH, precision="bf16")
            ),
            "isotherm, streamed": streamed,
        }
        seconds = trainer_peers.measured(work, rounds)
    done = dict.fromkeys(work, rows) | {"DataLoader": few, "isotherm, streamed": learned}
    return {name: done[name] / median(values) for name, values in seconds.items()}


def _in_memory(network: nn.Sequential, x: torch.Tensor, y: torch.Tensor, config: FitConfig) -> None:
    rows = Rows(
        x=x[None],
        y=y[None],
        training=torch.full((1, len(x)), 1 / len(x)),
        held_out=torch.zeros(1, len(x)),
    )
    loop.fit(Single(network), rows, config)


def _streamed(
    path: Path, x: torch.Tensor, y: torch.Tensor, hidden: tuple[int, ...]
) -> tuple[Callable[[], None], int]:
    """Return what goes over the file once, and how many rows it learns from."""
    names = [f"f{index}" for index in range(FEATURES)]
    columns = dict(zip(names, x.numpy().T, strict=True)) | {"y": y.numpy()[:, 0]}
    pq.write_table(pa.table(columns), path, row_group_size=GROUP_ROWS)
    prepared = prepare(_config(path, names, hidden), world=Alone())
    held_out = prepared.frame.table(prepared.survey.held_out)
    nets = fit.built(prepared.frame, held_out, prepared.config)

    def work() -> None:
        fit.training(prepared, nets, world=Alone())[1].run()

    return work, int(prepared.survey.learned.sum())


def _config(path: Path, names: list[str], hidden: tuple[int, ...]) -> TrainConfig:
    widths = (FEATURES, *hidden)
    layers = [
        part
        for width, following in zip(widths, hidden, strict=False)
        for part in (f"Linear({width}, {following})", "ReLU()")
    ]
    return validated(
        {
            "name": "table",
            "data": {"file": path, "features": names, "targets": ["y"], "memory": MEMORY},
            "network": {"layers": [*layers, f"Linear({widths[-1]}, 1)"]},
            "fit": {"epochs": 1, "batch_size": BATCH},
        }
    )
