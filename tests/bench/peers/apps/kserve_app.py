"""KServe's SDK: a custom model on its model server."""

# The packages are in an environment of their own, not where types are checked.
# mypy: disable-error-code="attr-defined, import-not-found, misc, no-any-return, untyped-decorator"

from __future__ import annotations

import os

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from onnx_model import OnnxModel


class OnnxPredictor(Model):
    """The class of KServe's documentation, "Custom Python model server"."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._model = OnnxModel()
        self.ready = True

    # `async`, so in the loop: there is no pool of threads to and from which a run would have to go.
    async def predict(self, payload: InferRequest, headers: object = None) -> InferResponse:
        y = self._model(payload.inputs[0].as_numpy())
        output = InferOutput("y", list(y.shape), "FP32")
        output.set_data_from_numpy(y, binary_data=True)
        return InferResponse(payload.id, self.name, [output])


if __name__ == "__main__":
    # One process: workers are for REST alone, gRPC has a single one (kserve/model_server.py).
    # No latency log a request.
    ModelServer(
        http_port=int(os.environ["HTTP_PORT"]),
        grpc_port=int(os.environ["PORT"]),
        enable_latency_logging=False,
    ).start([OnnxPredictor("m")])
