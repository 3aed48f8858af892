"""Every RPC that is served, by path: the table that the transport gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from google.protobuf.message import DecodeError, Message

from isotherm.server.errors import InvalidRequestError, RequestError, UnsupportedError
from isotherm.server.rpcs import PREFIX, UNSERVED_RPCS
from isotherm.server.service.feedback import FeedbackService
from isotherm.server.service.health import HealthService
from isotherm.server.service.inference import InferenceService
from isotherm.server.service.log_settings import LogSettingsService
from isotherm.server.service.models import ModelsService
from isotherm.server.service.reflection import ReflectionService
from isotherm.server.service.repository import RepositoryService
from isotherm.server.service.status import fail
from isotherm.server.service.streaming import StreamingService
from isotherm.server.service.traces import Traces
from isotherm.server.transport.call import Call, Gate, Stream, Unary
from isotherm.v1 import open_inference_pb2 as pb

_REQUESTS: Final = {
    "ServerLive": pb.ServerLiveRequest,
    "ServerReady": pb.ServerReadyRequest,
    "ServerMetadata": pb.ServerMetadataRequest,
    "ModelReady": pb.ModelReadyRequest,
    "ModelMetadata": pb.ModelMetadataRequest,
    "ModelConfig": pb.ModelConfigRequest,
    "ModelStatistics": pb.ModelStatisticsRequest,
    "RepositoryIndex": pb.RepositoryIndexRequest,
}


def methods(
    inference: InferenceService,
    models: ModelsService,
    repository: RepositoryService,
    streaming: StreamingService,
    log_settings: LogSettingsService,
    health: HealthService,
    reflection: ReflectionService,
    feedback: FeedbackService,
    traces: Traces | None = None,
) -> dict[str, Unary | Stream | Gate]:
    """Return the handlers of all services by full path; with `traces`, gates before inference."""
    answers: dict[str, Callable[[Any], Message]] = {
        "ServerLive": models.server_live,
        "ServerReady": models.server_ready,
        "ServerMetadata": models.server_metadata,
        "ModelReady": models.model_ready,
        "ModelMetadata": models.model_metadata,
        "ModelConfig": models.model_config,
        "ModelStatistics": models.model_statistics,
        "RepositoryIndex": repository.index,
    }
    infer: Unary | Gate = Unary(inference.infer)
    stream: Stream | Gate = streaming.method()
    if traces is not None:
        infer, stream = traces.unary(inference.infer), traces.stream(streaming.open)
    return {
        PREFIX + "ModelInfer": infer,
        PREFIX + "ModelStreamInfer": stream,
        **{PREFIX + name: Unary(_answering(name, answer)) for name, answer in answers.items()},
        **{PREFIX + name: _refusal(name, reason) for name, reason in UNSERVED_RPCS.items()},
        **repository.methods(PREFIX),
        **log_settings.methods(PREFIX),
        **feedback.methods(),
        **health.methods(),
        **reflection.methods(),
    }


def _answering(name: str, answer: Callable[[Any], Message]) -> Callable[[Call, bytes], None]:
    request_type = _REQUESTS[name]

    def handle(call: Call, message: bytes) -> None:
        try:
            request = request_type.FromString(message)
        except DecodeError:
            fail(call, InvalidRequestError(f"the message is not a {request_type.__name__}"))
            return
        try:
            response = answer(request)
        except RequestError as error:
            fail(call, error)
            return
        call.reply(response.SerializeToString())

    return handle


def _refusal(name: str, reason: str) -> Unary:
    error = UnsupportedError(f"{name} is not served: {reason}")

    def refuse(call: Call, _message: bytes) -> None:
        fail(call, error)

    return Unary(refuse)
