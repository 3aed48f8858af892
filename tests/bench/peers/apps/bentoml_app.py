"""BentoML with adaptive batching."""

# The packages are in an environment of their own, not where types are checked.
# mypy: disable-error-code="attr-defined, import-not-found, misc, no-any-return, untyped-decorator"

from __future__ import annotations

import os

import bentoml
import numpy as np
from onnx_model import OnnxModel


# A worker a core: BentoML's documentation, "Parallelize requests handling".
@bentoml.service(
    workers=int(os.environ["WORKERS"]),
    traffic={"timeout": 60},
    logging={"access": {"enabled": False}},
)
class Model:
    """The service of BentoML's documentation, "Adaptive batching"."""

    def __init__(self) -> None:
        self.model = OnnxModel()

    # Batches count rows, so a request of 1 024 rows must fit.
    @bentoml.api(batchable=True, batch_dim=0, max_batch_size=2048, max_latency_ms=1000)
    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.model(x.astype(np.float32, copy=False))
