"""The table of RPC methods against the protocol's own description."""

from __future__ import annotations

import pytest

from isotherm.client._methods import METHODS
from isotherm.v1 import open_inference_pb2 as pb

_SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.path)
def test_every_method_is_the_protocols_with_its_messages(method):
    """The path is public, the messages are those of the .proto file."""
    package, name = method.path.removeprefix("/").split("/")
    described = _SERVICE.methods_by_name[name]

    assert package == "inference.GRPCInferenceService"
    assert getattr(pb, described.input_type.name).SerializeToString is method.serialize
    assert type(method.parse(b"")) is getattr(pb, described.output_type.name)
