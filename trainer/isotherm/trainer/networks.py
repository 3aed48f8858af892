"""The networks that the configuration names, made and checked before anything is trained."""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

from isotherm.trainer import model
from isotherm.trainer.config import FitConfig, NetworkConfig
from isotherm.trainer.data import Table
from isotherm.trainer.errors import ConfigError
from isotherm.trainer.objective import Objective

# Early stopping on fewer rows stops on noise: on two held-out readings of the thermometer it raised
# the leave-one-out error from 2.1 to 3.5.
EARLY_STOPPING_ROWS: Final = 100

# A table of more numbers gains from a GPU; on a smaller one its launches cost more than they save.
_DEVICE_NUMBERS: Final = 100_000


def build(config: NetworkConfig, table: Table, objective: Objective, seed: int) -> nn.Sequential:
    """Return a network of the configuration with its initial weights, checked."""
    features, targets = table.x.shape[1], objective.widths(table.y.shape[1])[0]
    if config.factory:
        made = model.made_by(config.factory, features=features, targets=targets, seed=seed)
    else:
        usual = model.seed_layers(features=features, targets=targets)
        made = model.of_layers(config.layers or usual, seed)
    return prepare(made, table, objective, skip=config.skip, seed=seed)


def prepare(
    network: nn.Module, table: Table, objective: Objective, *, skip: bool = False, seed: int = 0
) -> nn.Sequential:
    """Return a checked copy of a module, with a line beside it if that is asked for."""
    features = table.x.shape[1]
    copy = model.own(
        network,
        features=features,
        widths=objective.widths(table.y.shape[1]),
        noun="class" if objective.classes else "target",
    )
    if objective.classes:
        model.check_logits(copy)
    if skip:
        with model.seeded(seed), torch.inference_mode():
            return model.with_skip(copy, features, copy.eval()(torch.zeros(1, features)).shape[-1])
    return copy


def check(config: FitConfig, rows: int) -> None:
    """Raise ConfigError where the settings do not suit a table of so many rows."""
    if config.patience and rows < EARLY_STOPPING_ROWS:
        msg = (
            f"fit.patience needs {EARLY_STOPPING_ROWS} rows, the table has {rows}: on so few, a "
            "hold-out stops on noise; leave it out, and the penalty keeps the network smooth"
        )
        raise ConfigError(msg)
    if config.device == "cuda" and not torch.cuda.is_available():
        msg = "fit.device is 'cuda', and torch finds no CUDA device here; use auto or cpu"
        raise ConfigError(msg)


def device(config: FitConfig, numbers: int) -> torch.device:
    """Return where a table of so many numbers is trained on."""
    if config.device == "auto":
        worth = numbers >= _DEVICE_NUMBERS and torch.cuda.is_available()
        return torch.device("cuda" if worth else "cpu")
    return torch.device(config.device)
