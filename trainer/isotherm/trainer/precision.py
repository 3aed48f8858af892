"""Precision: whether layers are computed in bfloat16 while they learn.

The weights, their steps, the loss and all that is measured and exported stay in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from isotherm.trainer.config import FitConfig
from isotherm.trainer.stack import Copies

# With fewer numbers in a network, turning them into bfloat16 costs more than the products gain:
# 0.8 to 1.2 times the speed at 2 thousand of them, 1.7 to 2.2 times from 75 thousand on.
_ENOUGH: Final = 50_000
# What Linux calls the instructions for it, of x86 and of ARM.
_INSTRUCTIONS: Final = {"amx_bf16", "avx512_bf16", "bf16"}

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


@cache
def has_instructions(device: str) -> bool:
    """Whether the device multiplies numbers of this kind by itself: otherwise it is no gain."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        return bool(_INSTRUCTIONS & {*Path("/proc/cpuinfo").read_text(encoding="utf-8").split()})
    except OSError:
        return False
