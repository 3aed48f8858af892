"""Questions about a server and its models, and orders to it: all conversations but inference."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from isotherm.client import _methods
from isotherm.client._asking import Asking
from isotherm.client._errors import (
    CallCancelledError,
    DeadlineExceededError,
    InvalidAnswerError,
    IsothermError,
    NoContractError,
    NotFoundError,
    ServerFaultError,
    TransientError,
    UnsupportedError,
)
from isotherm.client._feedback import Report
from isotherm.client._methods import Method
from isotherm.client._steps import Conversation, Deadline, Pause
from isotherm.v1 import contract as contracts
from isotherm.v1 import open_inference_pb2 as pb
from isotherm.v1.contract_pb2 import Contract

Version: TypeAlias = int | str | None

# Between two questions whether a server is ready.
_READY_PAUSE_S: Final = 0.1
# Started, loaded and found: all of that may come yet. Some servers say UNKNOWN for not found.
_NOT_YET: Final = (CallCancelledError, NotFoundError, ServerFaultError, TransientError)


class Questions(Asking):
    """The conversations behind the methods that are named like them."""

    def contract(self, model: str, version: Version, deadline: Deadline) -> Conversation[Contract]:
        """Ask for the model's configuration, which carries the contract."""
        try:
            config = yield from self.config(model, version, deadline)
        except UnsupportedError as error:
            msg = f"the server at {self.target} cannot send contracts: it has no ModelConfig"
            raise NoContractError(msg, model=model, target=self.target) from error
        text = config.parameters[contracts.METADATA_KEY].string_value
        if not text:
            msg = f"model '{model}' at {self.target} carries no contract"
            raise NoContractError(msg, model=model, target=self.target)
        try:
            return contracts.loads(text)
        except contracts.ContractError as error:
            msg = f"model '{model}' at {self.target}: {error}"
            raise InvalidAnswerError(msg, model=model, target=self.target) from error

    def config(
        self, model: str, version: Version, deadline: Deadline
    ) -> Conversation[pb.ModelConfig]:
        """Ask for the model's configuration (a Triton extension)."""
        request = pb.ModelConfigRequest(name=model, version=version_text(version))
        answer = yield from self.ask(_methods.MODEL_CONFIG, request, model, deadline)
        return answer.config

    def model_metadata(
        self, model: str, version: Version, deadline: Deadline
    ) -> Conversation[pb.ModelMetadataResponse]:
        """Ask for the model's versions and tensors."""
        request = pb.ModelMetadataRequest(name=model, version=version_text(version))
        return (yield from self.ask(_methods.MODEL_METADATA, request, model, deadline))

    def server_metadata(self, deadline: Deadline) -> Conversation[pb.ServerMetadataResponse]:
        """Ask for the server's name, version and extensions."""
        request = pb.ServerMetadataRequest()
        return (yield from self.ask(_methods.SERVER_METADATA, request, "", deadline))

    def health(self, model: str | None, version: Version, deadline: Deadline) -> Conversation[bool]:
        """Ask whether the server, or one model, is ready."""
        if model is None:
            ready = yield from self.ask(
                _methods.SERVER_READY, pb.ServerReadyRequest(), "", deadline
            )
            return ready.ready
        request = pb.ModelReadyRequest(name=model, version=version_text(version))
        return (yield from self.ask(_methods.MODEL_READY, request, model, deadline)).ready

    def wait_ready(
        self, model: str | None, version: Version, deadline: Deadline
    ) -> Conversation[None]:
        """Ask until the answer is yes, or the time is up."""
        reason = "it gave no answer"
        cause: IsothermError | None = None
        attempts = 0
        while True:
            attempts += 1
            try:
                if (yield from self.health(model, version, deadline)):
                    return
                reason, cause = "it says that it is not", None
            except DeadlineExceededError as error:
                cause = cause or error
            except _NOT_YET as error:
                reason, cause = str(error), error
            if deadline.left_s() <= _READY_PAUSE_S:
                what = "the server" if model is None else f"model '{model}'"
                msg = f"{what} was not ready within {deadline.timeout_s:g} s: {reason}"
                late = deadline.passed(model or "", self.target)
                late.args = (msg,)
                late.attempts = attempts
                raise late from cause
            yield Pause(_READY_PAUSE_S)

    def statistics(
        self, model: str, version: Version, deadline: Deadline
    ) -> Conversation[pb.ModelStatisticsResponse]:
        """Ask for a model's counters, or for those of all."""
        request = pb.ModelStatisticsRequest(name=model, version=version_text(version))
        return (yield from self.ask(_methods.MODEL_STATISTICS, request, model, deadline))

    def models(self, deadline: Deadline) -> Conversation[pb.RepositoryIndexResponse]:
        """Ask for all models, served or not."""
        request = pb.RepositoryIndexRequest()
        return (yield from self.ask(_methods.REPOSITORY_INDEX, request, "", deadline))

    def load(self, model: str, deadline: Deadline) -> Conversation[None]:
        """Have a model loaded, or loaded anew."""
        request = pb.RepositoryModelLoadRequest(model_name=model)
        yield from self._order(_methods.MODEL_LOAD, request, model, deadline)

    def unload(self, model: str, deadline: Deadline) -> Conversation[None]:
        """Have a model unloaded."""
        request = pb.RepositoryModelUnloadRequest(model_name=model)
        yield from self._order(_methods.MODEL_UNLOAD, request, model, deadline)

    def feedback(
        self, model: str, report: Report, version: Version, deadline: Deadline
    ) -> Conversation[str]:
        """Report all rows for one version, in as many calls as they need; return the version."""
        counted, counted_for = 0, version_text(version)
        for request in report.requests(model, counted_for):
            # The newest version may change between two calls.
            request.model_version = counted_for
            try:
                answer = yield from self.ask(_methods.FEEDBACK_REPORT, request, model, deadline)
            except IsothermError as error:
                if counted:
                    error.add_note(f"the first {counted} rows of the report were counted")
                if not isinstance(error, UnsupportedError):
                    raise
                msg = (
                    f"the server at {self.target} takes no feedback: "
                    f"it has no {_methods.FEEDBACK}, which is Isotherm's own"
                )
                raise UnsupportedError(
                    msg, model=model, target=self.target, code=error.code
                ) from error
            counted += answer.rows
            counted_for = answer.model_version
        return counted_for

    def _order(
        self, method: Method[Any, Any], request: Any, model: str, deadline: Deadline
    ) -> Conversation[None]:
        try:
            yield from self.ask(method, request, model, deadline)
        except (NotFoundError, ServerFaultError) as error:
            # KServe has calls of these names that mean something else, and no index.
            try:
                yield from self.models(deadline)
            except UnsupportedError as no_index:
                name = method.path.removeprefix("/")
                msg = f"the server at {self.target} does not offer {name} as Triton defines it"
                raise UnsupportedError(
                    msg, model=model, target=self.target, code=no_index.code
                ) from error
            except IsothermError:
                pass
            raise


def version_text(version: Version) -> str:
    """Return a version as the protocol has it: "" leaves the choice to the server."""
    return "" if version is None else str(version)
