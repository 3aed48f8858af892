"""The same networks in torch on the device, eager and compiled: from host memory to host memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

# A pool of compilers takes longer to start than these networks to compile.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

import torch
from onnx import numpy_helper
from torch import nn

from tests.bench.gpus.bare import Array, Prepare


def problem() -> str:
    """Return why torch cannot use CUDA here; empty where it can."""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    return "" if torch.cuda.is_available() else "torch sees no CUDA device"


def pinned(x: Array) -> Array:
    """Return a copy in page-locked memory, which the device copies fastest."""
    array: Array = torch.from_numpy(x).pin_memory().numpy()
    return array


def network(path: Path, device: str) -> nn.Sequential:
    """Return a network of tanh layers with the weights of the ONNX file."""
    weights = {
        one.name: torch.from_numpy(numpy_helper.to_array(one).copy())
        for one in onnx.load(path).graph.initializer
    }
    layers: list[nn.Module] = []
    for index in range(len(weights) // 2):
        inputs, outputs = weights[f"w{index}"].shape
        layer = nn.Linear(inputs, outputs)
        layer.weight.data, layer.bias.data = (
            weights[f"w{index}"].T.contiguous(),
            weights[f"b{index}"],
        )
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1]).to(device).eval()


def eager(path: Path, device: str = "cuda") -> Prepare:
    """Return the loop as one writes it."""
    return _loop(network(path, device), device)


def compiled(path: Path, device: str = "cuda") -> Prepare:
    """Return the loop over what `torch.compile` makes, with its own CUDA graphs."""
    # One compilation for all batch sizes: with one for each the script's time would go there.
    model = network(path, device)
    return _loop(torch.compile(model, mode="reduce-overhead", dynamic=True), device)


def _loop(model: Callable[[torch.Tensor], torch.Tensor], device: str) -> Prepare:
    def prepare(x: Array) -> Callable[[], Array]:
        host = torch.from_numpy(x)

        @torch.inference_mode()
        def run() -> Array:
            answer = model(host.to(device, non_blocking=True)).cpu().numpy()
            return np.asarray(answer)

        return run

    return prepare
