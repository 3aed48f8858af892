"""Lightning and skorch, against a bare loop in the same process.

    python tests/bench/trainer_peers.py lightning|skorch [ROWS HIDDEN ...] [--rounds 5]

On eleven rows, full batch, or on a table of ROWS with so many units in each hidden layer. Runs in
an environment of its own, which has no isotherm. The last line is JSON: seconds of both.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import time
import warnings
from collections.abc import Callable
from copy import deepcopy
from statistics import median
from typing import Any

import torch
from torch import nn

EPOCHS = 500
# Of the large table.
FEATURES, BATCH = 32, 4096

Work = Callable[[], object]
Table = tuple[torch.Tensor, torch.Tensor]


def main() -> None:
    """Run both in turn; print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", choices=("lightning", "skorch"))
    parser.add_argument("rows", type=int, nargs="?")
    parser.add_argument("hidden", type=int, nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    train = {"lightning": lightning, "skorch": skorch}[arguments.peer]
    work: dict[str, Work]
    if arguments.rows:
        x, y = table(arguments.rows)
        model = network(tuple(arguments.hidden))
        work = {
            "bare": lambda: sliced(model, x, y),
            "peer": lambda: train(deepcopy(model), x, y, epochs=1, batch=BATCH),
        }
    else:
        x = torch.linspace(-1, 1, 11).reshape(-1, 1)
        y = (2 * x).sin()
        work = {
            "bare": lambda: bare(x, y),
            "peer": lambda: train(seed_network(), x, y, epochs=EPOCHS, batch=len(x)),
        }
    times = measured(work, arguments.rounds)
    print(json.dumps({name: median(values) for name, values in times.items()}))


def measured(work: dict[str, Work], rounds: int) -> dict[str, list[float]]:
    """Run every contender once a round, after one round that does not count; return seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for number in range(rounds + 1):
        for name, run in work.items():
            started = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def seed_network() -> nn.Sequential:
    """Return the network of the seed."""
    return nn.Sequential(nn.Linear(1, 13), nn.Tanh(), nn.Linear(13, 1))


def network(hidden: tuple[int, ...]) -> nn.Sequential:
    """Return a network for the large table, with so many units in each hidden layer."""
    layers: list[nn.Module] = []
    width = FEATURES
    for following in hidden:
        layers += [nn.Linear(width, following), nn.ReLU()]
        width = following
    return nn.Sequential(*layers, nn.Linear(width, 1))


def table(rows: int) -> Table:
    """Return features (rows, FEATURES) and a target (rows, 1)."""
    x = torch.randn(rows, FEATURES, generator=torch.Generator().manual_seed(0))
    return x, x[:, :1] * x[:, 1:2]


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
    for inputs, answers in _loader(x, y, BATCH):
        _step(model, optimizer, inputs, answers)


def _step(
    model: nn.Sequential, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor
) -> None:
    loss = nn.functional.mse_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _loader(x: torch.Tensor, y: torch.Tensor, batch: int) -> Any:
    data = torch.utils.data.TensorDataset(x, y)
    return torch.utils.data.DataLoader(data, batch_size=batch, shuffle=batch < len(x))


def bare(x: torch.Tensor, y: torch.Tensor) -> None:
    """Train as a user would write it down."""
    model = seed_network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(EPOCHS):
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()


def skorch(
    model: nn.Sequential, x: torch.Tensor, y: torch.Tensor, *, epochs: int, batch: int
) -> None:
    """Train with skorch's regressor, without output and without a split."""
    package: Any = importlib.import_module("skorch")
    net = package.NeuralNetRegressor(
        model,
        max_epochs=epochs,
        lr=0.02,
        optimizer=torch.optim.Adam,
        batch_size=batch,
        iterator_train__shuffle=batch < len(x),
        train_split=None,
        verbose=0,
    )
    net.fit(x, y)


def lightning(
    model: nn.Sequential, x: torch.Tensor, y: torch.Tensor, *, epochs: int, batch: int
) -> None:
    """Train with Lightning's Trainer, with all that can be switched off switched off."""
    package: Any = importlib.import_module("lightning")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)

    def init(self: Any) -> None:
        package.LightningModule.__init__(self)
        self.net = model

    # Built by hand: a class statement would need the package to be known to the type checker.
    methods = {
        "__init__": init,
        "training_step": lambda self, batch, _: nn.functional.mse_loss(
            self.net(batch[0]), batch[1]
        ),
        "configure_optimizers": lambda self: torch.optim.Adam(self.parameters(), lr=0.02),
    }
    module = type("Module", (package.LightningModule,), methods)()

    trainer = package.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, _loader(x, y, batch))


if __name__ == "__main__":
    main()
