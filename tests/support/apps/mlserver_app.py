"""MLServer's custom runtime, over the ONNX file that the model's settings name."""

# The packages are in an environment of their own, not where types are checked.
# mypy: disable-error-code="attr-defined, import-not-found, misc, no-any-return, untyped-decorator"

from __future__ import annotations

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse, MetadataTensor
from onnx_model import OnnxModel, described


class Runtime(MLModel):
    """The class of MLServer's documentation, "Custom Inference Runtimes"."""

    async def load(self) -> bool:
        self._model = OnnxModel(self.settings.parameters.uri)
        if described(self.name):
            self.inputs = [MetadataTensor(**tensor) for tensor in self._model.inputs]
            self.outputs = [MetadataTensor(**tensor) for tensor in self._model.outputs]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        arrays = self._model.run(
            {tensor.name: NumpyCodec.decode_input(tensor) for tensor in payload.inputs}
        )
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[
                NumpyCodec.encode_output(tensor["name"], array)
                for tensor, array in zip(self._model.outputs, arrays, strict=True)
            ],
        )
