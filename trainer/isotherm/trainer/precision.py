"""Precision: with how many bits layers are computed while they learn.

The weights, their steps, the loss and all that is measured and exported stay in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from isotherm.trainer.config import FitConfig
from isotherm.trainer.stack import Copies

# With fewer numbers in a network, turning them into bfloat16 costs more than the products gain:
# 0.8 to 1.2 times the speed at 2 thousand of them, 1.7 to 2.2 times from 75 thousand on.
_ENOUGH: Final = 50_000
# What Linux calls the instructions for it, of x86 and of ARM.
_INSTRUCTIONS: Final = {"amx_bf16", "avx512_bf16", "bf16"}
# torch's annotations do not know all of them.
_BACKENDS: Final[Any] = torch.backends

Forward = Callable[[Tensor], Tensor]


def forward(copies: Copies, config: FitConfig) -> Forward:
    """Return what maps rows to outputs while the copies learn: themselves, or with less bits."""
    parameters = list(copies.parameters.values())
    numbers = sum(parameter.numel() for parameter in parameters)
    device = parameters[0].device.type
    if config.precision == "auto":
        lower = numbers >= _ENOUGH and has_instructions(device)
    else:
        lower = config.precision == "bf16"
    if not lower:
        return copies

    def lowered(x: Tensor) -> Tensor:
        with torch.autocast(device, dtype=torch.bfloat16):
            outputs = copies(x)
        return outputs.float()

    return lowered


def learning(work: Callable[..., Tensor], config: FitConfig) -> Callable[..., Tensor]:
    """Return the work of a step, with products of fewer bits on CUDA where TF32 is asked for."""
    if config.precision != "tf32":
        return work

    def coarser(*arguments: Any) -> Tensor:
        with _products("tf32", [_BACKENDS.cuda.matmul]):
            return work(*arguments)

    return coarser


@contextmanager
def exact() -> Iterator[None]:
    """Multiply float32 numbers with all their bits, whatever the caller's settings for torch are.

    So is all that is measured, exported and compared; and what learns, unless it is told otherwise.
    """
    with _products("ieee", [_BACKENDS.cuda.matmul, _BACKENDS.mkldnn.matmul]):
        yield


@contextmanager
def _products(bits: str, places: Sequence[Any]) -> Iterator[None]:
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = bits
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value


@cache
def has_instructions(device: str) -> bool:
    """Whether the device multiplies numbers of this kind by itself: otherwise it is no gain."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        return bool(_INSTRUCTIONS & {*Path("/proc/cpuinfo").read_text(encoding="utf-8").split()})
    except OSError:
        return False
