"""The RPC methods that the client calls, with their paths on the wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from isotherm.v1 import feedback_pb2
from isotherm.v1 import open_inference_pb2 as pb

Request = TypeVar("Request")
Answer = TypeVar("Answer")

# The public name: our Python messages live in package isotherm.v1 only to stay out of the way of
# other clients in the same process.
SERVICE: Final = "inference.GRPCInferenceService"
# Of our own: other servers do not have it.
FEEDBACK: Final = "isotherm.v1.Feedback"


@dataclass(frozen=True, slots=True)
class Method(Generic[Request, Answer]):
    """One unary method: its path, and how its messages become bytes and back."""

    path: str
    serialize: Callable[[Request], bytes]
    parse: Callable[[bytes], Answer]


SERVER_READY: Final = Method(
    f"/{SERVICE}/ServerReady",
    pb.ServerReadyRequest.SerializeToString,
    pb.ServerReadyResponse.FromString,
)
SERVER_METADATA: Final = Method(
    f"/{SERVICE}/ServerMetadata",
    pb.ServerMetadataRequest.SerializeToString,
    pb.ServerMetadataResponse.FromString,
)
MODEL_READY: Final = Method(
    f"/{SERVICE}/ModelReady",
    pb.ModelReadyRequest.SerializeToString,
    pb.ModelReadyResponse.FromString,
)
MODEL_METADATA: Final = Method(
    f"/{SERVICE}/ModelMetadata",
    pb.ModelMetadataRequest.SerializeToString,
    pb.ModelMetadataResponse.FromString,
)
MODEL_CONFIG: Final = Method(
    f"/{SERVICE}/ModelConfig",
    pb.ModelConfigRequest.SerializeToString,
    pb.ModelConfigResponse.FromString,
)
MODEL_INFER: Final = Method(
    f"/{SERVICE}/ModelInfer",
    pb.ModelInferRequest.SerializeToString,
    pb.ModelInferResponse.FromString,
)
FEEDBACK_REPORT: Final = Method(
    f"/{FEEDBACK}/Report",
    feedback_pb2.ReportRequest.SerializeToString,
    feedback_pb2.ReportResponse.FromString,
)
METHODS: Final[tuple[Method[Any, Any], ...]] = (
    SERVER_READY,
    SERVER_METADATA,
    MODEL_READY,
    MODEL_METADATA,
    MODEL_CONFIG,
    MODEL_INFER,
    FEEDBACK_REPORT,
)
