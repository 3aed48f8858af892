"""What several processes do together for tests/unit/trainer/test_world.py.

    python worlds.py SCENARIO FOLDER

Each rank leaves what it found in FOLDER/RANK.json.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from isotherm.trainer import torchrun
from isotherm.trainer.errors import WorldError
from isotherm.trainer.world import World

Found = dict[str, Any]
# Rows, targets and weights.
Table = list[torch.Tensor]


def agree(world: World) -> Found:
    """Exchange what a training exchanges, and leave quietly."""
    print(f"rank {world.rank} prints")
    found: Found = {
        "gathered": world.gather({"rank": world.rank}),
        "told": world.broadcast(f"rank {world.rank}"),
        "total": world.total(uneven(world.rank)).tobytes().hex(),
        "settled": settled(world),
        "weightless": weightless(world),
        "listening": listening(),
    }
    found["single"] = train(world, share(world), steps=20)
    found["double"] = train(world, [part.double() for part in share(world)], steps=200)
    # Every process finds the same difference, and can go on from there.
    try:
        world.same("a table of", f"{10 + world.rank // 2} rows")
    except WorldError as error:
        found["differs"] = str(error)
    return found


def refuse(world: World) -> Found:
    """Let rank 1 fail while the others wait for it."""
    if world.rank == 1:
        msg = "column 'rooms' has gone"
        raise ValueError(msg)
    return {"gathered": world.gather(0)}


def die(world: World) -> Found:
    """Kill the last rank while the others wait for it."""
    world.barrier()
    if world.rank == world.size - 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"gathered": world.gather(0)}


def stall(world: World) -> Found:
    """Let rank 1 be there, and not answer."""
    if world.rank == 1:
        signal.sigwait({signal.SIGTERM})
    return {"gathered": world.gather(0)}


def uneven(rank: int) -> Any:
    """Numbers whose sum depends on the order in which they are added."""
    rng = np.random.default_rng(rank)
    return rng.normal(0, 1, 64) * 10.0 ** rng.integers(-12, 12, 64)


def table() -> Table:
    """Forty rows, their targets, and what each of them weighs."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, generator=generator)
    y = (x[:, :1] * x[:, 1:2]).sin()
    return [x, y, torch.rand(40, generator=generator)]


def share(world: World) -> Table:
    """Unequal shares of the rows; the last of the three ranks has none."""
    bounds = [0, 13, 40, 40]
    return [part[bounds[world.rank] : bounds[world.rank + 1]] for part in table()]


def train(world: World, rows: Table, steps: int) -> list[list[float]]:
    """Take steps over all rows; return the parameters, and the loss of each step."""
    x, y, weights = rows
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).to(x.dtype)
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, lr=0.02, fused=True)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        weight, loss = float(weights.sum()), torch.tensor(torch.nan)
        if weight:
            loss = ((model(x) - y).square()[:, 0] * weights).sum() / weight
            loss.backward()
        losses.append(world.average(parameters, weight, loss).item())
        optimizer.step()
    return [nn.utils.parameters_to_vector(parameters).tolist(), losses]


def settled(world: World) -> list[list[float]]:
    """Statistics of other rows on every rank, and what becomes of them."""
    layer = nn.BatchNorm1d(2, momentum=None)
    layer(torch.tensor([[0.0, 0.0], [2.0, 4.0]]) * (world.rank + 1))
    world.settle(nn.Sequential(layer))
    return [value.tolist() for name, value in layer.named_buffers() if "running" in name]


def weightless(world: World) -> list[float]:
    """Average over rows that nobody has."""
    parameter = nn.Parameter(torch.ones(2))
    loss = world.average([parameter], 0.0, torch.tensor(torch.nan))
    assert parameter.grad is not None
    return [loss.item(), *parameter.grad.tolist()]


def listening() -> list[str]:
    """The addresses, in hexadecimal, where this process accepts connections."""
    inodes = {
        os.readlink(path).strip("socket:[]")
        for path in Path("/proc/self/fd").iterdir()
        if os.path.lexists(path) and os.readlink(path).startswith("socket:")
    }
    lines = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return sorted(
        {line[1].partition(":")[0] for line in lines if line[3] == "0A" and line[9] in inodes}
    )


SCENARIOS: dict[str, Callable[[World], Found]] = {
    "agree": agree,
    "die": die,
    "refuse": refuse,
    "stall": stall,
}


def threads() -> list[str]:
    """Name the threads of this process."""
    return [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]


def main() -> None:
    """Run the scenario that is asked for."""
    name, folder = sys.argv[1:]
    try:
        with torchrun.joined() as world:
            found = SCENARIOS[name](world)
        found["threads"] = threads()
        Path(folder, f"{world.rank}.json").write_text(json.dumps(found))
    except WorldError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
