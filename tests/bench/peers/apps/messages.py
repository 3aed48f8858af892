"""Open Inference messages to arrays and back, for peers whose messages the user chooses."""

from __future__ import annotations

import numpy as np

from isotherm.v1 import open_inference_pb2 as pb

METHOD = "/inference.GRPCInferenceService/ModelInfer"


def array_of(request: pb.ModelInferRequest) -> np.ndarray:
    """Return the one input, without a copy."""
    return np.frombuffer(request.raw_input_contents[0], np.float32).reshape(request.inputs[0].shape)


def answer_of(y: np.ndarray) -> pb.ModelInferResponse:
    """Return the one output as an answer."""
    response = pb.ModelInferResponse(model_name="m", model_version="1")
    response.outputs.add(name="y", datatype="FP32", shape=y.shape)
    response.raw_output_contents.append(y.tobytes())
    return response
