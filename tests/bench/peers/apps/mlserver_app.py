"""MLServer's custom runtime."""

# The packages are in an environment of their own, not where types are checked.
# mypy: disable-error-code="attr-defined, import-not-found, misc, no-any-return, untyped-decorator"

from __future__ import annotations

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from onnx_model import OnnxModel


class Runtime(MLModel):
    """The class of MLServer's documentation, "Custom Inference Runtimes"."""

    async def load(self) -> bool:
        self._model = OnnxModel()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        x = NumpyCodec.decode_input(payload.inputs[0])
        return InferenceResponse(
            model_name=self.name,
            outputs=[NumpyCodec.encode_output("y", self._model(x))],
        )
