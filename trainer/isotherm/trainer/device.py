"""The device: where a table is trained, why it cannot be there, and what to do without room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch

from isotherm.trainer.config import FitConfig
from isotherm.trainer.errors import ConfigError, DeviceMemoryError, first_line

# A table of more numbers gains from a GPU; on a smaller one its launches cost more than they save.
_ENOUGH_NUMBERS: Final = 100_000


def choose(config: FitConfig, numbers: int) -> torch.device:
    """Return where a table of so many numbers is trained.

    Raises:
        ConfigError: CUDA is asked for, and there is none.
    """
    if config.device == "auto":
        worth = numbers >= _ENOUGH_NUMBERS and torch.cuda.is_available()
        return torch.device("cuda" if worth else "cpu")
    check(config)
    return torch.device(config.device)


def check(config: FitConfig) -> None:
    """Raise ConfigError where the device that is asked for cannot be had: why, and what helps."""
    if not config.device.startswith("cuda"):
        return
    if not torch.cuda.is_available():
        msg = (
            f"fit.device is '{config.device}', and torch {torch.__version__} cannot use CUDA here: "
            f"{_reason()}. `isotherm doctor` says what is missing; auto or cpu train without it"
        )
        raise ConfigError(msg)
    count, index = torch.cuda.device_count(), torch.device(config.device).index or 0
    if index >= count:
        known = ", ".join(f"cuda:{each}" for each in range(count))
        msg = (
            f"fit.device is '{config.device}', and torch sees {count} of them here: {known}; use "
            "one of these (CUDA_VISIBLE_DEVICES may hide others)"
        )
        raise ConfigError(msg)


@contextmanager
def room() -> Iterator[None]:
    """Turn a device that is out of memory into a sentence with what helps.

    Raises:
        DeviceMemoryError: the device has no room for the training.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        msg = (
            f"the device has no memory left for this training ({first_line(error)}); nothing was "
            "published. Take smaller steps (--batch-size), leave the rows in their files "
            "(--stream), end what else is on the device, or train on the CPU (--device cpu)"
        )
        raise DeviceMemoryError(msg) from error


def _reason() -> str:
    """Return what torch itself says where its CUDA is started."""
    cuda: Any = torch.cuda
    try:
        cuda.init()
    # A build without CUDA asserts; a driver that is missing or too old is a RuntimeError.
    except (AssertionError, RuntimeError) as error:
        return first_line(error)
    return "it finds no device; CUDA_VISIBLE_DEVICES may hide it"
