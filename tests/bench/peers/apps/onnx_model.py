"""The model behind every peer of ours in Python: one ONNX file, one thread a run.

These files run inside the peers' own environments, as `python <file>` with MODEL_FILE, PORT and
WORKERS set, and with the folder `proto` on the path of those that speak gRPC.
"""

from __future__ import annotations

import os

import numpy as np
import onnxruntime


class OnnxModel:
    """A session like that of every other server of the comparison."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            os.environ["MODEL_FILE"], options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Run x [batch, features] FP32 to y [batch, targets] FP32."""
        y: np.ndarray = self._session.run(["y"], {"x": x})[0]
        return y
