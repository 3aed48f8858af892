"""Server reflection, v1 and v1alpha: upstream's servicer over a pool of the public names.

Our Python messages live in the package `isotherm.v1`, while the wire speaks of `inference`; the
pool here holds the public file, so that a client's tool sees the names it will call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from isotherm.server.rpcs import FEEDBACK
from isotherm.server.transport.call import StatusCode, Stream, StreamCall
from isotherm.v1 import feedback_pb2, open_inference_pb2

INFERENCE: Final = "inference.GRPCInferenceService"
HEALTH: Final = "grpc.health.v1.Health"
# Both versions have the same messages.
PATHS: Final = tuple(
    f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    for version in ("v1", "v1alpha")
)
SERVICES: Final = (
    INFERENCE,
    FEEDBACK,
    HEALTH,
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)


def public_pool() -> descriptor_pool.DescriptorPool:
    """Return a pool with the protocol under its public names."""
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto()
    open_inference_pb2.DESCRIPTOR.CopyToProto(file)
    private, public = file.package, "inference"
    file.package = public
    _rename(file, f".{private}.", f".{public}.")
    pool.AddSerializedFile(file.SerializeToString())
    pool.AddSerializedFile(feedback_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(health_pb2.DESCRIPTOR.serialized_pb)
    alpha = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
    pool.AddSerializedFile(alpha.SerializeToString())
    alpha.name = alpha.name.replace("v1alpha", "v1")
    _rename(alpha, f".{alpha.package}.", ".grpc.reflection.v1.")
    alpha.package = "grpc.reflection.v1"
    pool.AddSerializedFile(alpha.SerializeToString())
    return pool


class ReflectionService:
    """Answers reflection requests one by one; upstream's servicer keeps no state between them."""

    def __init__(self, services: Sequence[str] = SERVICES) -> None:
        self._servicer = reflection.ReflectionServicer(services, pool=public_pool())

    def methods(self) -> dict[str, Stream]:
        """Return the handlers by path."""
        return {path: Stream(self._open) for path in PATHS}

    def _open(self, call: StreamCall) -> None:
        def answer(message: bytes) -> None:
            try:
                request = reflection_pb2.ServerReflectionRequest.FromString(message)
            except DecodeError:
                call.fail(
                    StatusCode.INVALID_ARGUMENT, "the message is not a ServerReflectionRequest"
                )
                return
            for response in self._servicer.ServerReflectionInfo(iter([request]), cast("Any", None)):
                call.send(response.SerializeToString())

        call.on_message = answer
        call.on_half_close = call.finish


def _rename(message: Any, old: str, new: str) -> None:
    """Rewrite every type reference in a file descriptor."""
    for descriptor, value in message.ListFields():
        if descriptor.name in {"type_name", "input_type", "output_type"}:
            setattr(message, descriptor.name, value.replace(old, new))
        elif descriptor.message_type is not None:
            repeated = not hasattr(value, "DESCRIPTOR")
            for item in value if repeated else [value]:
                _rename(item, old, new)
