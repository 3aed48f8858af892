"""Lightning and skorch on eleven rows, against a bare loop in the same process.

    python tests/bench/trainer_peers.py lightning|skorch

Runs in an environment of its own, which has no isotherm. The last line is JSON with the ratio.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import nn

EPOCHS, ROUNDS = 500, 5


def main() -> None:
    """Run both in turn; print the ratio of their medians."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    x = torch.linspace(-1, 1, 11).reshape(-1, 1)
    y = (2 * x).sin()
    contender: Callable[[torch.Tensor, torch.Tensor], None]
    contender = {"lightning": lightning, "skorch": skorch}[sys.argv[1]]
    times: dict[str, list[float]] = {"bare": [], "peer": []}
    for number in range(ROUNDS + 1):
        for name, work in {"bare": bare, "peer": contender}.items():
            started = time.perf_counter()
            work(x, y)
            if number:
                times[name].append(time.perf_counter() - started)
    print(json.dumps({"ratio": median(times["peer"]) / median(times["bare"])}))


def network() -> nn.Sequential:
    """Return the network of the seed."""
    return nn.Sequential(nn.Linear(1, 13), nn.Tanh(), nn.Linear(13, 1))


def bare(x: torch.Tensor, y: torch.Tensor) -> None:
    """Train as a user would write it down."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(EPOCHS):
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()


def skorch(x: torch.Tensor, y: torch.Tensor) -> None:
    """Train with skorch's regressor, without output and without a split."""
    package: Any = importlib.import_module("skorch")
    net = package.NeuralNetRegressor(
        network(),
        max_epochs=EPOCHS,
        lr=0.02,
        optimizer=torch.optim.Adam,
        batch_size=-1,
        train_split=None,
        verbose=0,
    )
    net.fit(x, y)


def lightning(x: torch.Tensor, y: torch.Tensor) -> None:
    """Train with Lightning's Trainer, with all that can be switched off switched off."""
    package: Any = importlib.import_module("lightning")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)

    def init(self: Any) -> None:
        package.LightningModule.__init__(self)
        self.net = network()

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
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader: Any = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x, y), batch_size=len(x)
    )
    trainer.fit(module, loader)


if __name__ == "__main__":
    main()
