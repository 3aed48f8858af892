"""Given: the settings that the flags of a command stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from isotherm.trainer.lists import by_name, split, split_layers

# Of each flag that is called otherwise than its setting.
_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "dataset": "data.dataset",
        "data": "data.file",
        "split_by": "data.split",
        "checkpoint": "checkpoint.folder",
        "checkpoint_every": "checkpoint.every",
        "checkpoint_steps": "checkpoint.steps",
        "layers": "network.layers",
    }
)
# The section of the others, by its name; those that are in none are the run's own.
_SECTIONS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "data": (
            *("features", "targets", "task", "stream", "memory", "categories", "missing"),
            *("min_category_rows", "max_categories", "weight", "time", "group", "transforms"),
        ),
        "fit": (
            *("epochs", "learning_rate", "weight_decay", "seed", "loss", "optimizer", "schedule"),
            *("clip_norm", "batch_size", "patience", "device", "cuda_graphs"),
            "precision",
        ),
        "tune": ("trials", "jobs", "timeout", "storage", "prune"),
        "tracking": ("tensorboard", "mlflow", "experiment", "register"),
    }
)
_RUN: Final = ("model", "repository", "name", "plots", "draw", "dpi")

_SETTINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **_NAMES,
        **{flag: f"{section}.{flag}" for section, flags in _SECTIONS.items() for flag in flags},
        **{flag: flag for flag in _RUN},
    }
)


def _missing(text: str | None) -> dict[str, str] | str | None:
    """Return one policy, or one for each name."""
    return by_name(text) if text and "=" in text else text


# Of the flags that say several things at once.
_PARSED: Final[Mapping[str, Callable[[Any], object]]] = MappingProxyType(
    {
        "features": split,
        "targets": split,
        "categories": lambda text: by_name(text, "auto"),
        "missing": _missing,
        "transforms": by_name,
        "layers": split_layers,
        "weight_decay": split,
    }
)


def settings(flags: Mapping[str, Any], *, beside: tuple[str, ...]) -> dict[str, object]:
    """Return the value of each setting by its dotted name; None where its flag is not given.

    Args:
        flags: the values of a command's parameters, by their names.
        beside: those that are no settings.
    """
    given: dict[str, object] = {}
    for flag, value in flags.items():
        if flag not in beside:
            parse = _PARSED.get(flag)
            given[_SETTINGS[flag]] = parse(value) if parse else value
    return given
