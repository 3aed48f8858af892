"""Restoring: the way back of a transform, as a part of the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor

from isotherm.trainer.transform import Transform

_WAYS: Final[Mapping[str, Callable[[Tensor], Tensor]]] = MappingProxyType(
    {
        "log": torch.exp,
        # As expm1, which ONNX lacks; exp(t) - 1 would lose the digits of a small answer.
        "log1p": lambda t: torch.tanh(t / 2) * (torch.exp(t) + 1),
        "sqrt": torch.square,
    }
)


def held(transform: Transform, values: Tensor) -> Tensor:
    """Hold what was learned of a target, any shape, within its transform's bounds."""
    return values.clamp(transform.low, transform.high) if transform.name else values


def restored(transform: Transform, values: Tensor) -> Tensor:
    """Map what was learned of a target, any shape, to its unit; as `Transform.restore`."""
    return _WAYS[transform.name](held(transform, values)) if transform.name else values
