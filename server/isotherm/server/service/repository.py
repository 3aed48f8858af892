"""The repository's RPCs: which versions serve, in which state, and why; loading and unloading."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from google.protobuf.message import DecodeError

from isotherm.server.errors import (
    ExecutionError,
    InvalidRequestError,
    NotFoundError,
    RequestError,
    ServerError,
    UnsupportedError,
)
from isotherm.server.layout import ModelState
from isotherm.server.repository import Repository
from isotherm.server.service.status import fail
from isotherm.server.transport.call import Call, Unary
from isotherm.v1 import open_inference_pb2 as pb

Action = Literal["load", "unload"]
# Has every worker make a change; the callback gets the first error, or None.
AskAll = Callable[[Action, str, Callable[[ServerError | None], None]], None]

_NOT_ENABLED = "models are chosen by the server: start it with --model-control explicit"


class RepositoryService:
    """Answers about the repository, and passes changes on to all workers where that is enabled."""

    def __init__(self, repository: Repository, ask_all: AskAll | None = None) -> None:
        """Without `ask_all`, callers may not change what is served."""
        self._repository = repository
        self._ask_all = ask_all

    def methods(self, prefix: str) -> dict[str, Unary]:
        """Return the handlers that change what is served."""
        return {
            f"{prefix}RepositoryModelLoad": self._changing(
                "load", pb.RepositoryModelLoadRequest, pb.RepositoryModelLoadResponse
            ),
            f"{prefix}RepositoryModelUnload": self._changing(
                "unload", pb.RepositoryModelUnloadRequest, pb.RepositoryModelUnloadResponse
            ),
        }

    def index(self, request: pb.RepositoryIndexRequest) -> pb.RepositoryIndexResponse:
        """Answer every chosen version, or only those that are ready."""
        return pb.RepositoryIndexResponse(
            models=[
                pb.RepositoryIndexResponse.ModelIndex(
                    name=entry.name,
                    version=str(entry.version),
                    state=entry.state.name,
                    reason=entry.reason,
                )
                for entry in self._repository.entries()
                if not request.ready or entry.state is ModelState.READY
            ]
        )

    def _changing(self, action: Action, request_type: Any, response_type: Any) -> Unary:
        name = request_type.__name__.removesuffix("Request")
        answer = response_type().SerializeToString()

        def handle(call: Call, message: bytes) -> None:
            try:
                request = request_type.FromString(message)
            except DecodeError:
                fail(call, InvalidRequestError(f"the message is not a {request_type.__name__}"))
                return
            if self._ask_all is None:
                fail(call, UnsupportedError(f"{name} is not enabled: {_NOT_ENABLED}"))
                return
            if action == "load" and request.parameters:
                names = ", ".join(f"'{parameter}'" for parameter in request.parameters)
                fail(call, UnsupportedError(f"load with {names} is not served: change the folder"))
                return

            def done(error: ServerError | None) -> None:
                if error is None:
                    call.reply(answer)
                else:
                    fail(call, _as_request_error(action, request.model_name, error))

            self._ask_all(action, request.model_name, done)

        return Unary(handle)


def _as_request_error(action: str, name: str, error: ServerError) -> RequestError:
    if isinstance(error, NotFoundError):
        return error
    return ExecutionError(f"failed to {action} '{name}': {error}")
