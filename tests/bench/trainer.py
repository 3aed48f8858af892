"""The trainer against a bare PyTorch loop, Lightning, skorch and a DataLoader.

    python tests/bench/trainer.py [--rounds 5] [--write]

Contenders run in turn, round by round, so that noise hits all alike; medians and their ratios are
what counts. Lightning and skorch live in an environment of their own, each measured against the
bare loop in the same process. `--write` puts the tables into docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402  the repository's root must be importable first
from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from isotherm.trainer import loop  # noqa: E402
from isotherm.trainer.batches import Rows  # noqa: E402
from isotherm.trainer.config import FitConfig  # noqa: E402
from isotherm.trainer.stack import Single, Stack  # noqa: E402
from tests.bench.page import machine, replace  # noqa: E402
from tests.support.environments import environment, run  # noqa: E402

PEERS = {"Lightning": "lightning==2.6.6", "skorch": "skorch==1.4.0"}
SMALL_ROWS, SMALL_EPOCHS = 11, 500
LARGE_ROWS, FEATURES, BATCH = 1_000_000, 32, 4096
# A DataLoader would take minutes for all rows.
LOADED_ROWS = 100_000

Seconds = dict[str, list[float]]


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    # On a machine that others use, threads that wait for each other measure the others.
    torch.set_num_threads(1)
    text = "\n".join(
        [
            f"Medians of {arguments.rounds} interleaved rounds on {machine()}, "
            f"torch {torch.__version__}.\n",
            small(arguments.rounds),
            large(arguments.rounds),
        ]
    )
    print(text)
    if arguments.write:
        replace("trainer", text)


def small(rounds: int) -> str:
    """Compare epochs on eleven rows, and the price of leave-one-out."""
    model = nn.Sequential(nn.Linear(1, 13), nn.Tanh(), nn.Linear(13, 1))
    config = FitConfig(epochs=SMALL_EPOCHS)
    each = _measure(
        {
            "bare": lambda: bare(model, fused=False),
            "bare, fused": lambda: bare(model, fused=True),
            "isotherm": lambda: loop.fit(Single(model), _small_rows(1), config),
            "folds": lambda: loop.fit(Stack(model, 12), _small_rows(12), config),
            "folds and penalties": lambda: loop.fit(Stack(model, 48), _small_rows(48), config),
        },
        rounds,
    )
    us = {name: median(values) / SMALL_EPOCHS * 1e6 for name, values in each.items()}
    lines = [
        f"A 1-13-1 network on {SMALL_ROWS} rows, full batch, Adam, one thread:\n",
        "| training | us an epoch | against a bare loop |",
        "| --- | --- | --- |",
        f"| bare loop, `Adam(fused=False)`, no penalty | {us['bare']:.0f} | 1.00 |",
        _row("bare loop, `Adam(fused=True)`, no penalty", us, "bare, fused"),
        _row("isotherm, with its penalty and checks", us, "isotherm"),
    ]
    for name, requirement in PEERS.items():
        ratio = peer(name, requirement)
        what = f"{us['bare'] * ratio:.0f} | {ratio:.1f}" if ratio else "not installable here | -"
        lines.append(f"| {requirement.replace('==', ' ')} | {what} |")
    lines += [
        _row("isotherm, leave-one-out: 11 folds and all rows", us, "folds"),
        _row("isotherm, the same for four penalties at once", us, "folds and penalties"),
        "",
        f"Leave-one-out of 11 folds costs {us['folds'] / us['isotherm']:.2f} times one fit.\n",
    ]
    return "\n".join(lines)


def bare(model: nn.Sequential, *, fused: bool) -> None:
    """Train as a user would write it down."""
    rows, model = _small_rows(1), deepcopy(model)
    x, y = rows.x[0], rows.y[0]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02, fused=fused)
    losses = []
    for _ in range(SMALL_EPOCHS):
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())


def peer(name: str, requirement: str) -> float | None:
    """Return how many times a bare loop's time a framework takes, None if it cannot be had."""
    pinned = f"torch=={torch.__version__.partition('+')[0]}"
    try:
        python = environment(f"trainer-{name.lower()}", pinned, requirement)
    except (AssertionError, subprocess.SubprocessError) as error:
        print(f"{name} is left out: {error}", file=sys.stderr)
        return None
    script = Path(__file__).with_name("trainer_peers.py")
    last = run(python, str(script), name.lower(), timeout_s=600).splitlines()[-1]
    return float(json.loads(last)["ratio"])


def large(rounds: int) -> str:
    """Compare rows a second on a table that has to be cut into batches."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(LARGE_ROWS, FEATURES, generator=generator)
    y = x[:, :1] * x[:, 1:2]
    model = nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, 1))
    config = FitConfig(epochs=1, batch_size=BATCH)
    rows = Rows(
        x=x[None],
        y=y[None],
        training=torch.full((1, LARGE_ROWS), 1 / LARGE_ROWS),
        held_out=torch.zeros(1, LARGE_ROWS),
    )
    each = _measure(
        {
            "slices": lambda: sliced(model, x, y),
            "isotherm": lambda: loop.fit(Single(model), rows, config),
            "DataLoader": lambda: loaded(model, x[:LOADED_ROWS], y[:LOADED_ROWS]),
        },
        rounds,
    )
    sizes = {"slices": LARGE_ROWS, "isotherm": LARGE_ROWS, "DataLoader": LOADED_ROWS}
    speed = {name: sizes[name] / median(values) for name, values in each.items()}
    names = {
        "slices": "hand-written loop over slices",
        "isotherm": "isotherm",
        "DataLoader": f"`DataLoader(TensorDataset)`, on {LOADED_ROWS} of the rows",
    }
    lines = [
        f"A {FEATURES}-64-1 network on {LARGE_ROWS} rows, batches of {BATCH}, Adam, one thread, "
        "one epoch with all that it needs:\n",
        "| training | rows/s | against the slices |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| {text} | {speed[name]:,.0f} | {speed[name] / speed['slices']:.2f} |"
        for name, text in names.items()
    ]
    lines += ["", f"Isotherm is {speed['isotherm'] / speed['DataLoader']:.1f} times DataLoader.\n"]
    return "\n".join(lines)


def sliced(model: nn.Sequential, x: torch.Tensor, y: torch.Tensor) -> None:
    """Shuffle by index, slice, step."""
    model = deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02, fused=True)
    for chosen in torch.randperm(len(x)).split(BATCH):
        _step(model, optimizer, x[chosen], y[chosen])


def loaded(model: nn.Sequential, x: torch.Tensor, y: torch.Tensor) -> None:
    """Let torch's own loader shuffle and collate."""
    model = deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02, fused=True)
    for inputs, answers in DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True):
        _step(model, optimizer, inputs, answers)


def _step(
    model: nn.Sequential, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor
) -> None:
    loss = nn.functional.mse_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _small_rows(copies: int) -> Rows:
    """Eleven rows; each copy but the first of twelve leaves one out."""
    x = torch.linspace(-1, 1, SMALL_ROWS).reshape(1, -1, 1).expand(copies, -1, -1)
    held_out = torch.zeros(copies, SMALL_ROWS)
    for copy in range(copies):
        if copy % 12:
            held_out[copy, copy % 12 - 1] = 1.0
    training = 1.0 - held_out
    return Rows(
        x=x,
        y=(2 * x).sin(),
        training=training / training.sum(dim=1, keepdim=True),
        held_out=held_out,
    )


def _measure(contenders: dict[str, Callable[[], object]], rounds: int) -> Seconds:
    """Run every contender once a round, after one round that does not count."""
    seconds: Seconds = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, work in contenders.items():
            started = time.perf_counter()
            work()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def _row(text: str, us: dict[str, float], name: str) -> str:
    return f"| {text} | {us[name]:.0f} | {us[name] / us['bare']:.2f} |"


if __name__ == "__main__":
    main()
