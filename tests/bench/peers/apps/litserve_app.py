"""LitServe with batching."""

# The packages are in an environment of their own, not where types are checked.
# mypy: disable-error-code="attr-defined, import-not-found, misc, no-any-return, untyped-decorator"

from __future__ import annotations

import os
from typing import Any

import litserve
import numpy as np
from onnx_model import OnnxModel


class Api(litserve.LitAPI):
    """The steps of LitServe's documentation, "Batching"."""

    def setup(self, device: str) -> None:
        self.model = OnnxModel()

    # LitServe takes an annotation here for the request's type.
    def decode_request(self, request) -> np.ndarray:
        return np.array(request["x"], np.float32)

    def batch(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        # Requests have different numbers of rows, so they are joined in `predict`.
        return inputs

    def predict(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        y = self.model(np.concatenate(inputs))
        return np.split(y, np.cumsum([len(x) for x in inputs])[:-1])

    def unbatch(self, output: list[np.ndarray]) -> list[np.ndarray]:
        return output

    def encode_response(self, output: np.ndarray) -> dict[str, Any]:
        return {"y": output.tolist()}


if __name__ == "__main__":
    # batch_timeout 0 takes what has come. fast_queue: ZeroMQ instead of a manager's queue
    # ("recommended for high throughput"). All of it from LitServer's reference.
    server = litserve.LitServer(
        Api(max_batch_size=int(os.environ["BATCH"]), batch_timeout=0.0),
        accelerator="cpu",
        devices=1,
        workers_per_device=int(os.environ["WORKERS"]),
        fast_queue=True,
        timeout=60,
    )
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        num_api_servers=int(os.environ["API_SERVERS"]),
        log_level="warning",
        generate_client_file=False,
    )
