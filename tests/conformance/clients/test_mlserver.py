"""MLServer's own stubs and codecs, unchanged, in a process of their own."""

from __future__ import annotations

import pytest

from tests.support import mlserver
from tests.support.environments import environment, run
from tests.support.server import Server

SCRIPT = """
import sys

import grpc
import numpy as np
from mlserver.codecs import NumpyCodec
from mlserver.grpc import converters
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc import dataplane_pb2_grpc as rpc
from mlserver.types import InferenceRequest

X = np.array([[1.0], [2.5]], np.float32)

with grpc.insecure_channel(sys.argv[1]) as channel:
    stub = rpc.GRPCInferenceServiceStub(channel)
    assert stub.ServerLive(pb.ServerLiveRequest()).live
    assert stub.ServerReady(pb.ServerReadyRequest()).ready
    assert stub.ModelReady(pb.ModelReadyRequest(name="doubling")).ready
    metadata = stub.ModelMetadata(pb.ModelMetadataRequest(name="doubling"))
    assert list(metadata.inputs[0].shape) == [-1, 1], metadata
    for use_raw in (False, True):
        request = InferenceRequest(inputs=[NumpyCodec.encode_input("x", X)])
        message = converters.ModelInferRequestConverter.from_types(
            request, model_name="doubling", model_version="1", use_raw=use_raw
        )
        answer = stub.ModelInfer(message)
        response = converters.ModelInferResponseConverter.to_types(answer)
        decoded = NumpyCodec.decode_output(response.outputs[0])
        np.testing.assert_array_equal(2 * X, decoded)
    try:
        stub.ModelMetadata(pb.ModelMetadataRequest(name="nobody"))
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.NOT_FOUND, error
    else:
        raise AssertionError("an unknown model was described")
print("all answered")
"""


@pytest.mark.slow
def test_mlserver_s_stubs_are_answered_raw_and_typed(server: Server) -> None:
    """Health, metadata, both forms of inference, and the code of an unknown model."""
    python = environment(mlserver.ENVIRONMENT, *mlserver.REQUIREMENTS)

    output = run(python, "-c", SCRIPT, server.address)

    assert "all answered" in output
