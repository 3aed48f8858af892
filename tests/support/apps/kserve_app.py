"""KServe's SDK: custom models on its model server, one for each file of a repository."""

# The packages are in an environment of their own, not where types are checked.
# mypy: disable-error-code="attr-defined, import-not-found, misc, no-any-return, untyped-decorator"

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from onnx_model import OnnxModel, described, files


class OnnxPredictor(Model):
    """The class of KServe's documentation, "Custom Python model server"."""

    def __init__(self, name: str, file: Path) -> None:
        super().__init__(name)
        self._model = OnnxModel(file)
        self.ready = True

    def get_input_types(self) -> list[dict[str, Any]]:
        return self._model.inputs if described(self.name) else []

    def get_output_types(self) -> list[dict[str, Any]]:
        return self._model.outputs if described(self.name) else []

    # `async`, so in the loop: there is no pool of threads to and from which a run would have to go.
    async def predict(self, payload: InferRequest, headers: object = None) -> InferResponse:
        arrays = self._model.run({tensor.name: tensor.as_numpy() for tensor in payload.inputs})
        # Raw or typed, as a model's author likes: here integers alone are typed.
        raw = any(array.dtype.kind == "f" for array in arrays)
        outputs = []
        for tensor, array in zip(self._model.outputs, arrays, strict=True):
            output = InferOutput(tensor["name"], list(array.shape), tensor["datatype"])
            output.set_data_from_numpy(array, binary_data=raw)
            outputs.append(output)
        return InferResponse(payload.id, self.name, outputs)


if __name__ == "__main__":
    # One process: workers are for REST alone, gRPC has a single one (kserve/model_server.py).
    # No latency log a request.
    ModelServer(
        http_port=int(os.environ["HTTP_PORT"]),
        grpc_port=int(os.environ["PORT"]),
        enable_latency_logging=False,
    ).start([OnnxPredictor(name, file) for name, file in files(os.environ["REPOSITORY"]).items()])
