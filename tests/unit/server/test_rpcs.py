"""The closed list of RPCs, held against the protocol's own descriptor."""

from __future__ import annotations

from isotherm.server.rpcs import COUNTED_RPCS, PREFIX, SERVED_RPCS, STREAMING_RPCS, UNSERVED_RPCS
from isotherm.v1 import open_inference_pb2 as pb

METHODS = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name


def test_every_rpc_of_the_protocol_is_served_or_refused_with_a_reason():
    """None is forgotten, none invented, none in both lists."""
    assert sorted([*SERVED_RPCS, *UNSERVED_RPCS]) == sorted(METHODS)


def test_rpcs_are_counted_once_each():
    """The list indexes a block's rows."""
    assert len(set(COUNTED_RPCS)) == len(COUNTED_RPCS)


def test_the_streaming_rpcs_of_the_protocol_are_known_as_such():
    """The metrics' grpc_type label follows the descriptor."""
    streaming = {name for name, method in METHODS.items() if method.server_streaming}

    assert {path for path in STREAMING_RPCS if path.startswith(PREFIX)} == {
        PREFIX + name for name in streaming
    }
