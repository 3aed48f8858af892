"""The closed list of RPCs: what is counted by name, and what is known but not served."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

INFERENCE: Final = "inference.GRPCInferenceService"
PREFIX: Final = f"/{INFERENCE}/"
FEEDBACK: Final = "isotherm.v1.Feedback"
REPORT: Final = f"/{FEEDBACK}/Report"

_REASONS = {
    "TraceSetting": "tracing is set when the server starts (--tracing-endpoint)",
}
_SHARED_MEMORY = "shared memory is not served: send tensors in the message"

# Known RPCs that are answered with UNIMPLEMENTED, by the reason their callers get.
UNSERVED_RPCS: Final = MappingProxyType(
    _REASONS
    | {
        f"{kind}SharedMemory{verb}": _SHARED_MEMORY
        for kind in ("System", "Cuda")
        for verb in ("Status", "Register", "Unregister")
    }
)

SERVED_RPCS: Final = (
    "ServerLive",
    "ServerReady",
    "ServerMetadata",
    "ModelReady",
    "ModelMetadata",
    "ModelInfer",
    "ModelStreamInfer",
    "ModelConfig",
    "ModelStatistics",
    "RepositoryIndex",
    "RepositoryModelLoad",
    "RepositoryModelUnload",
    "LogSettings",
)

# What changes the server for every caller; a token of its own may be asked for these.
CONTROL_RPCS: Final = frozenset(
    PREFIX + name for name in ("LogSettings", "RepositoryModelLoad", "RepositoryModelUnload")
)

# Full paths, in a fixed order: they index the rows of a counter block.
COUNTED_RPCS: Final = (
    *(PREFIX + name for name in SERVED_RPCS),
    *(PREFIX + name for name in UNSERVED_RPCS),
    REPORT,
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)
# The rest is unary.
STREAMING_RPCS: Final = frozenset(
    path for path in COUNTED_RPCS if path.endswith(("StreamInfer", "Watch", "ReflectionInfo"))
)
