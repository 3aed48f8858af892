"""The space: what a search chooses from, and the training that a choice stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType
from typing import Any, Final

from isotherm.trainer import objective as objectives
from isotherm.trainer.batches import WHOLE_ROWS
from isotherm.trainer.config import TrainConfig, validated
from isotherm.trainer.data import Table
from isotherm.trainer.errors import ConfigError
from isotherm.trainer.layers import ACTIVATIONS
from isotherm.trainer.tune.config import FIT, SHAPE, Range, Scalar

Parameters = Mapping[str, Scalar]
Dimension = Range | tuple[Scalar, ...]

_SHAPE: Final[Mapping[str, Dimension]] = MappingProxyType(
    {
        "depth": Range(low=1, high=3),
        "width": Range(low=8, high=128, log=True),
        "activation": ("Tanh", "ReLU", "SiLU", "GELU"),
        "skip": (False, True),
    }
)
_FIT: Final[Mapping[str, Dimension]] = MappingProxyType(
    {
        "optimizer": ("adam", "adamw"),
        "learning_rate": Range(low=1e-3, high=1e-1, log=True),
        "weight_decay": Range(low=1e-2, high=10.0, log=True),
        "schedule": ("constant", "cosine", "one-cycle"),
    }
)
# A smaller table is one batch unless that is asked for otherwise.
_BATCHES: Final[Dimension] = (256, 1024, 4096)

# Of a shape that the space does not name.
_USUAL: Final = MappingProxyType(
    {"depth": 1, "width": 32, "activation": "Tanh", "dropout": 0.0, "skip": False}
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Space:
    """What is searched for one table, around what the configuration fixes.

    Attributes:
        dimensions: name -> what is chosen from.
        fixed: name -> a value that the user gave in the space.
    """

    table: Table
    config: TrainConfig
    dimensions: Mapping[str, Dimension]
    fixed: Parameters

    def applied(self, parameters: Parameters) -> TrainConfig:
        """Return the configuration of one trial: that network, fitted in that way."""
        chosen = {**self.fixed, **parameters}
        values = self.config.model_dump()
        values["fit"] |= {name: value for name, value in chosen.items() if name in FIT}
        network = values["network"]
        if not (network["factory"] or network["layers"]):
            shape = _USUAL | {"skip": network["skip"]}
            shape |= {name: value for name, value in chosen.items() if name in SHAPE}
            network |= {"skip": shape["skip"], "layers": self._layers(shape)}
        # What is searched is one network; others may stand on the leaderboard in the end.
        return validated(values, "[tune.space]: ")

    def described(self) -> dict[str, object]:
        """Return what makes this space another than others, as JSON has it."""
        described: dict[str, object] = dict(self.fixed)
        for name, one in self.dimensions.items():
            described[name] = one.model_dump() if isinstance(one, Range) else list(one)
        return described

    def _layers(self, shape: Mapping[str, Any]) -> tuple[str, ...]:
        objective = objectives.of(self.table, self.config.fit.loss)
        last = objective.widths(len(self.table.targets))[0]
        # The first layer takes what the table's columns become, whatever that is.
        before, width = "inputs", int(shape["width"])
        if shape["activation"] not in ACTIVATIONS:
            names = ", ".join(ACTIVATIONS)
            msg = f"[tune.space]: '{shape['activation']}' is no activation; expected one of {names}"
            raise ConfigError(msg)
        layers = []
        for _ in range(int(shape["depth"])):
            layers += [f"Linear({before}, {width})", f"{shape['activation']}()"]
            if shape["dropout"]:
                layers.append(f"Dropout({shape['dropout']:.6g})")
            before = str(width)
        return (*layers, f"Linear({before}, {last})")


def of(config: TrainConfig, table: Table) -> Space:
    """Return the space of a configuration: the usual one, but for what the user settled.

    Raises:
        ConfigError: a setting is given twice, or one of its values cannot be used.
    """
    given = config.tune.space
    _check_settled(config)
    usual = {**({} if _own(config) else _SHAPE), **_FIT}
    if table.rows > WHOLE_ROWS:
        usual["batch_size"] = _BATCHES
    settled = config.fit.model_fields_set | config.network.model_fields_set
    entries = {name: one for name, one in usual.items() if name not in settled} | given
    fixed = {name: one for name, one in entries.items() if not isinstance(one, (Range, tuple))}
    space = Space(
        table=table,
        config=config,
        dimensions={name: one for name, one in entries.items() if isinstance(one, (Range, tuple))},
        fixed=fixed,
    )
    if not space.dimensions:
        msg = "[tune.space] leaves nothing to search; give a range or a list for at least one name"
        raise ConfigError(msg)
    # What cannot be trained is found before the search, not in the middle of it.
    for parameters in _corners(space.dimensions):
        space.applied(parameters)
    return space


def _check_settled(config: TrainConfig) -> None:
    for name in config.tune.space:
        if name in SHAPE and _own(config):
            msg = (
                f"[tune.space] searches '{name}', and the network has layers of its own; leave "
                "one of the two out"
            )
            raise ConfigError(msg)
        section = "network" if name in SHAPE else "fit"
        if name in getattr(config, section).model_fields_set:
            msg = f"'{name}' is set in [{section}] and in [tune.space]; leave one of the two out"
            raise ConfigError(msg)


def _own(config: TrainConfig) -> bool:
    return bool(config.network.layers or config.network.factory)


def _corners(dimensions: Mapping[str, Dimension]) -> Iterator[dict[str, Scalar]]:
    """Yield the ends of each dimension beside those of each other one."""
    first = {name: _ends(one)[0] for name, one in dimensions.items()}
    yield first
    for one, other in combinations(dimensions, 2):
        for here in _ends(dimensions[one]):
            for there in _ends(dimensions[other]):
                yield first | {one: here, other: there}
    if len(dimensions) == 1:
        for name, only in dimensions.items():
            yield from ({name: value} for value in _ends(only))


def _ends(dimension: Dimension) -> tuple[Scalar, ...]:
    if isinstance(dimension, Range):
        return dimension.low, dimension.high
    return dimension
