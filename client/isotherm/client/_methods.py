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
    """One unary method: its path, and how its messages become bytes and back.

    With `repeatable`, making the call twice is the same as making it once.
    """

    path: str
    serialize: Callable[[Request], bytes]
    parse: Callable[[bytes], Answer]
    repeatable: bool = True


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
    # Made as bytes, and read as bytes.
    bytes,
    bytes,
)
MODEL_STATISTICS: Final = Method(
    f"/{SERVICE}/ModelStatistics",
    pb.ModelStatisticsRequest.SerializeToString,
    pb.ModelStatisticsResponse.FromString,
)
REPOSITORY_INDEX: Final = Method(
    f"/{SERVICE}/RepositoryIndex",
    pb.RepositoryIndexRequest.SerializeToString,
    pb.RepositoryIndexResponse.FromString,
)
MODEL_LOAD: Final = Method(
    f"/{SERVICE}/RepositoryModelLoad",
    pb.RepositoryModelLoadRequest.SerializeToString,
    pb.RepositoryModelLoadResponse.FromString,
)
MODEL_UNLOAD: Final = Method(
    f"/{SERVICE}/RepositoryModelUnload",
    pb.RepositoryModelUnloadRequest.SerializeToString,
    pb.RepositoryModelUnloadResponse.FromString,
)
FEEDBACK_REPORT: Final = Method(
    f"/{FEEDBACK}/Report",
    feedback_pb2.ReportRequest.SerializeToString,
    feedback_pb2.ReportResponse.FromString,
    # A report that arrived and is sent again counts twice.
    repeatable=False,
)
METHODS: Final[tuple[Method[Any, Any], ...]] = (
    SERVER_READY,
    SERVER_METADATA,
    MODEL_READY,
    MODEL_METADATA,
    MODEL_CONFIG,
    MODEL_INFER,
    MODEL_STATISTICS,
    REPOSITORY_INDEX,
    MODEL_LOAD,
    MODEL_UNLOAD,
    FEEDBACK_REPORT,
)
