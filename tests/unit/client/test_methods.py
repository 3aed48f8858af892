"""The table of RPC methods against the services' own descriptions."""

from __future__ import annotations

import pytest

from isotherm.client._methods import METHODS, MODEL_INFER
from isotherm.v1 import feedback_pb2
from isotherm.v1 import open_inference_pb2 as pb

_SERVICES = {
    "inference.GRPCInferenceService": (pb, pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]),
    "isotherm.v1.Feedback": (feedback_pb2, feedback_pb2.DESCRIPTOR.services_by_name["Feedback"]),
}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.path)
def test_every_method_is_the_services_with_its_messages(method):
    """The path is public, the messages are those of the .proto file."""
    service, name = method.path.removeprefix("/").split("/")
    module, descriptor = _SERVICES[service]
    described = descriptor.methods_by_name[name]

    as_bytes = method is MODEL_INFER
    serialize = getattr(module, described.input_type.name).SerializeToString
    assert method.serialize is (bytes if as_bytes else serialize)
    answer_class = bytes if as_bytes else getattr(module, described.output_type.name)
    assert type(method.parse(b"")) is answer_class
