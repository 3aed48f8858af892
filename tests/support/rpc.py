"""Calls of the inference service by name, with our own messages and no client library of ours."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np

from isotherm.v1 import open_inference_pb2 as pb
from isotherm.v1.tensors import datatype_of, encode_raw

TIMEOUT_S = 10.0


def call(channel: grpc.Channel, method: str, request: Any, timeout: float = TIMEOUT_S) -> Any:
    """Call one method of the inference service."""
    multicallable: Any = channel.unary_unary(
        f"/inference.GRPCInferenceService/{method}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=getattr(pb, f"{method}Response").FromString,
    )
    return multicallable(request, timeout=timeout)


def infer_request(model: str, **inputs: Any) -> pb.ModelInferRequest:
    """Return a raw request with one array an input."""
    request = pb.ModelInferRequest(model_name=model)
    for name, value in inputs.items():
        array = np.asarray(value)
        request.inputs.add(name=name, datatype=datatype_of(array), shape=array.shape)
        request.raw_input_contents.append(encode_raw(array))
    return request


def error_of(channel: grpc.Channel, method: str, request: Any) -> tuple[grpc.StatusCode, str]:
    """Make a call that must fail; return its status code and text."""
    try:
        response = call(channel, method, request)
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        return error.code(), error.details() or ""
    msg = f"{method} was answered with {response!r}"
    raise AssertionError(msg)


def outputs_of(response: pb.ModelInferResponse) -> dict[str, np.ndarray]:
    """Return the raw outputs of an answer as arrays (numbers only)."""
    from isotherm.v1.tensors import decode_raw

    return {
        output.name: decode_raw(output.name, output.datatype, tuple(output.shape), raw)
        for output, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }
