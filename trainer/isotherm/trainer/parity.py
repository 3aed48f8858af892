"""Parity: the exported file must answer in ONNX Runtime as the module does in torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from isotherm.trainer import precision
from isotherm.trainer.data import Floats
from isotherm.trainer.errors import ParityError, RuntimeMissingError


def runtime() -> Any:
    """Return the module onnxruntime, which is imported here only.

    Raises:
        RuntimeMissingError: it is not installed.
    """
    # It reports to its maker unless this is set before it is imported.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        msg = (
            "ONNX Runtime is not installed, and no model is published that it has not answered; "
            "install it with `pip install 'isotherm[server]'` (or 'isotherm[server-gpu]')"
        )
        raise RuntimeMissingError(msg) from error
    return onnxruntime


@precision.exact()
def check(
    content: bytes,
    module: nn.Module,
    batches: Sequence[Floats],
    *,
    absolute: float,
    relative: float,
) -> float:
    """Compare every output on every batch; return the largest absolute difference.

    Args:
        content: the ONNX file.
        module: what it was exported from.
        batches: raw inputs, each of shape (rows, features).
        absolute: tolerance, in the targets' units.
        relative: tolerance, as a share of torch's answer.

    Raises:
        ParityError: an element differs by more than `absolute + relative * |torch's answer|`.
    """
    runner = session(content)
    names = [output.name for output in runner.get_outputs()]
    input_name = runner.get_inputs()[0].name
    largest = 0.0
    for batch in batches:
        x = batch.astype(np.float32)
        with torch.inference_mode():
            expected = module(torch.from_numpy(x))
        for name, ours, theirs in zip(
            names, expected, runner.run(names, {input_name: x}), strict=True
        ):
            difference = _largest(ours.numpy(), theirs, absolute, relative, f"'{name}'")
            largest = max(largest, difference)
    return largest


def session(content: bytes) -> Any:
    """Return a session of ONNX Runtime that runs the file on the CPU."""
    onnxruntime = runtime()
    options = onnxruntime.SessionOptions()
    # One row at a time: a thread pool would cost more than the model.
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _largest(
    expected: np.ndarray[Any, Any],
    actual: np.ndarray[Any, Any],
    absolute: float,
    relative: float,
    name: str,
) -> float:
    difference = np.abs(actual.astype(np.float64) - expected)
    # Written so that NaN counts as too far.
    if (
        actual.shape != expected.shape
        or not (difference <= absolute + relative * np.abs(expected)).all()
    ):
        msg = (
            f"output {name} of the exported model differs from torch by up to "
            f"{difference.max():.3g} in a batch of {len(expected)}, "
            f"allowed is {absolute:.3g}; nothing was published"
        )
        raise ParityError(msg)
    return float(difference.max())
