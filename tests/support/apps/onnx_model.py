"""The model behind every server of others that runs Python: one ONNX file, one thread a run.

These files run inside those servers' own environments, with this folder on the path.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

_DATATYPES = {
    "tensor(float)": "FP32",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
}


class OnnxModel:
    """A session like that of every other server; the file is MODEL_FILE unless one is given."""

    def __init__(self, file: Path | str | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(file or os.environ["MODEL_FILE"]), options, providers=["CPUExecutionProvider"]
        )
        # As the protocol's metadata lists tensors: name, datatype, shape with -1 for the batch.
        self.inputs = [_tensor(node) for node in self._session.get_inputs()]
        self.outputs = [_tensor(node) for node in self._session.get_outputs()]
        self._names = [output["name"] for output in self.outputs]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Run x [batch, features] FP32 to y [batch, targets] FP32."""
        y: np.ndarray = self._session.run(["y"], {"x": x})[0]
        return y

    def run(self, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Run all inputs, by name, to all outputs, in the order of `outputs`."""
        answers: list[np.ndarray] = self._session.run(self._names, feed)
        return answers


def files(repository: Path | str) -> dict[str, Path]:
    """Return the files of a repository `<model>/<version>/model.onnx` by the models' names."""
    return {path.parents[1].name: path for path in sorted(Path(repository).glob("*/*/model.onnx"))}


def described(model: str) -> bool:
    """Tell whether a model's metadata is to list its tensors: both SDKs leave that to authors."""
    return model != "undescribed"


def _tensor(node: Any) -> dict[str, Any]:
    return {
        "name": node.name,
        "datatype": _DATATYPES[node.type],
        "shape": [size if isinstance(size, int) else -1 for size in node.shape],
    }
