"""The trainer against a bare PyTorch loop, Lightning, skorch and a DataLoader.

    python tests/bench/trainer.py [--rounds 5] [--sizes 10000 100000 1000000] [--write]

Contenders run in turn, round by round, so that noise hits all alike; medians and their ratios are
what counts. Lightning and skorch live in an environment of their own, each measured against the
bare loop in the same process. `--write` puts the tables into docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402  the repository's root must be importable first
from torch import nn  # noqa: E402

from isotherm.trainer import loop  # noqa: E402
from isotherm.trainer.batches import Rows  # noqa: E402
from isotherm.trainer.config import FitConfig  # noqa: E402
from isotherm.trainer.stack import Single, Stack  # noqa: E402
from tests.bench import trainer_peers, trainer_sizes  # noqa: E402
from tests.bench.page import machine, replace  # noqa: E402
from tests.support.environments import environment, run  # noqa: E402

PEERS = {"Lightning": "lightning==2.6.6", "skorch": "skorch==1.4.0"}
SMALL_ROWS, SMALL_EPOCHS = 11, 500


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=trainer_sizes.SIZES)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    # On a machine that others use, threads that wait for each other measure the others.
    torch.set_num_threads(1)
    text = "\n".join(
        [
            f"Medians of {arguments.rounds} interleaved rounds on {machine()}, "
            f"torch {torch.__version__}.\n",
            small(arguments.rounds),
            trainer_sizes.report(arguments.rounds, tuple(arguments.sizes), tuple(PEERS), paces),
        ]
    )
    print(text)
    if arguments.write:
        replace("trainer", text)


def small(rounds: int) -> str:
    """Compare epochs on eleven rows, and the price of leave-one-out."""
    model = nn.Sequential(nn.Linear(1, 13), nn.Tanh(), nn.Linear(13, 1))
    config = FitConfig(epochs=SMALL_EPOCHS)
    each = trainer_peers.measured(
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
        seconds = peer(name)
        ratio = seconds["peer"] / seconds["bare"] if seconds else None
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


def paces(name: str, rows: int, hidden: tuple[int, ...]) -> tuple[float, float] | None:
    """Return rows a second of a framework, and of a loop over slices beside it."""
    seconds = peer(name, str(rows), *map(str, hidden))
    return (rows / seconds["peer"], rows / seconds["bare"]) if seconds else None


def peer(name: str, *arguments: str) -> dict[str, float] | None:
    """Return the seconds of a framework and of a bare loop, None if it cannot be had."""
    pinned = f"torch=={torch.__version__.partition('+')[0]}"
    try:
        python = environment(f"trainer-{name.lower()}", pinned, PEERS[name])
    except (AssertionError, subprocess.SubprocessError) as error:
        print(f"{name} is left out: {error}", file=sys.stderr)
        return None
    script = Path(__file__).with_name("trainer_peers.py")
    output = run(python, str(script), name.lower(), *arguments, timeout_s=600)
    seconds: dict[str, float] = json.loads(output.splitlines()[-1])
    return seconds


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


def _row(text: str, us: dict[str, float], name: str) -> str:
    return f"| {text} | {us[name]:.0f} | {us[name] / us['bare']:.2f} |"


if __name__ == "__main__":
    main()
