"""The networks that the configuration names, made and checked before anything is trained."""

from __future__ import annotations

import re
from typing import Final

import torch
from torch import nn

from isotherm.trainer import device, embeddings, encoding, model
from isotherm.trainer.config import FitConfig, NetworkConfig
from isotherm.trainer.data import Table
from isotherm.trainer.errors import ConfigError
from isotherm.trainer.objective import Objective

# Early stopping on fewer rows stops on noise: on two held-out readings of the thermometer it raised
# the leave-one-out error from 2.1 to 3.5.
EARLY_STOPPING_ROWS: Final = 100

# What stands in a layer for as many numbers as the table makes, and as many as it wants.
_WIDTH: Final = re.compile(r"\b(?:inputs|outputs)\b")
# Names of the network's inputs, in an error.
_SHOWN: Final = 8


def build(config: NetworkConfig, table: Table, objective: Objective, seed: int) -> nn.Sequential:
    """Return a network of the configuration with its initial weights, checked."""
    features = embeddings.inner_width(table.features)
    targets = objective.widths(table.y.shape[1])[0]
    if config.factory:
        made = model.made_by(config.factory, features=features, targets=targets, seed=seed)
    else:
        usual = model.seed_layers(features=features, targets=targets)
        # So that a recipe fits a table with other categories than it was written for.
        widths = {"inputs": features, "outputs": targets}
        layers = [
            _WIDTH.sub(lambda found: str(widths[found[0]]), layer)
            for layer in config.layers or usual
        ]
        made = model.of_layers(layers, seed)
    return prepare(made, table, objective, skip=config.skip, seed=seed)


def prepare(
    network: nn.Module, table: Table, objective: Objective, *, skip: bool = False, seed: int = 0
) -> nn.Sequential:
    """Return a checked copy of a module, with its embeddings, and a line if that is asked for."""
    features = embeddings.inner_width(table.features)
    copy = model.own(
        network,
        features=features,
        widths=objective.widths(table.y.shape[1]),
        noun="class" if objective.classes else "target",
        seen=_seen(table, features),
    )
    if objective.classes:
        model.check_logits(copy)
    with model.seeded(seed):
        if skip:
            with torch.inference_mode():
                outputs = copy.eval()(torch.zeros(1, features)).shape[-1]
            copy = model.with_skip(copy, features, outputs)
        vectors = embeddings.of(table.features)
    return embeddings.before(vectors, copy) if vectors else copy


def _seen(table: Table, width: int) -> str:
    """Say what the network's own layers see of the table, where it is not the features alone."""
    if all(one.missing == "refuse" for one in table.features):
        return ""
    names = [*encoding.names(table.features)]
    shown = ", ".join(names[:_SHOWN]) + (" ..." if width > _SHOWN else "")
    return f"the table's features make {width} numbers ({shown})"


def check(config: FitConfig, rows: int) -> None:
    """Raise ConfigError where the settings do not suit a table of so many rows."""
    if config.patience and rows < EARLY_STOPPING_ROWS:
        msg = (
            f"fit.patience needs {EARLY_STOPPING_ROWS} rows, the table has {rows}: on so few, a "
            "hold-out stops on noise; leave it out, and the penalty keeps the network smooth"
        )
        raise ConfigError(msg)
    device.check(config)
