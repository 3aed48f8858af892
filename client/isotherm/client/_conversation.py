"""The conversation behind each method of a client: which calls are made, and what is made of them.

Written once for `Client` and `AsyncClient`: a conversation is a generator that yields calls and is
sent their answers, or has the error thrown in. It neither blocks nor awaits: the shells do.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import grpc

from isotherm.client import _messages, _methods
from isotherm.client._errors import (
    CallCancelledError,
    ClosedError,
    InvalidAnswerError,
    InvalidInputError,
    IsothermError,
    NoContractError,
    NotFoundError,
    UnsupportedError,
)
from isotherm.client._feedback import Report
from isotherm.client._inputs import Inputs, fit
from isotherm.client._methods import Answer, Method, Request
from isotherm.client._prediction import Prediction
from isotherm.client._signature import Signature
from isotherm.v1 import contract as contracts
from isotherm.v1 import open_inference_pb2 as pb
from isotherm.v1.contract_pb2 import Contract
from isotherm.v1.tensors import Array

Result = TypeVar("Result")
Version: TypeAlias = int | str | None


@dataclass(frozen=True, slots=True)
class Call:
    """One RPC to make; `model` is for the error message."""

    method: Method[Any, Any]
    request: Any
    model: str


Conversation: TypeAlias = Generator[Call, Any, Result]


@dataclass(frozen=True, slots=True)
class Deadline:
    """The point in time by which all calls of a conversation must be over."""

    at_s: float

    @classmethod
    def after(cls, timeout_s: float) -> Deadline:
        """Return the deadline `timeout_s` from now; refuse one that is no limit."""
        if not 0 < timeout_s < math.inf:
            msg = f"timeout is {timeout_s}, expected a positive number of seconds"
            raise InvalidInputError(msg)
        return cls(time.monotonic() + timeout_s)

    def left_s(self) -> float:
        """Return the seconds that are left, zero at least."""
        return max(0.0, self.at_s - time.monotonic())


class Conversations:
    """All conversations of one client. Remembers the models' signatures."""

    def __init__(self, target: str, timeout_s: float) -> None:
        self.target = target
        self.closed = False
        self._timeout_s = timeout_s
        self._signatures: dict[tuple[str, str], Signature] = {}
        Deadline.after(timeout_s)

    def begin(self, timeout_s: float | None) -> Deadline:
        """Return the deadline of a new conversation; refuse one on a closed client."""
        self.check_open()
        return Deadline.after(self._timeout_s if timeout_s is None else timeout_s)

    def check_open(self) -> None:
        """Raise ClosedError after the client was closed."""
        if self.closed:
            msg = f"the client of {self.target} is closed"
            raise ClosedError(msg, target=self.target)

    def cut_off(self, call: Call) -> CallCancelledError:
        """Return the error of a call that was in flight when the client was closed."""
        msg = f"the client of {self.target} was closed during the call"
        code = grpc.StatusCode.CANCELLED
        return CallCancelledError(msg, model=call.model, target=self.target, code=code)

    def predict(
        self, model: str, x: Inputs, version: Version, outputs: str | Sequence[str] | None
    ) -> Conversation[Array | Prediction]:
        """Infer with the model's remembered signature, and again if that is out of date."""
        key = (model, _version(version))
        wanted = (outputs,) if isinstance(outputs, str) else tuple(outputs or ())
        known = self._signatures.get(key)
        if known is None:
            known = yield from self._signature(key)
            return (yield from self._infer(key, known, x, wanted))
        try:
            return (yield from self._infer(key, known, x, wanted))
        except (InvalidInputError, NotFoundError):
            # Another model may have taken the name since its signature was read.
            self._signatures.pop(key, None)
            fresh = yield from self._signature(key)
            if fresh == known:
                raise
        return (yield from self._infer(key, fresh, x, wanted))

    def contract(self, model: str, version: Version) -> Conversation[Contract]:
        """Ask for the model's configuration, which carries the contract."""
        try:
            config = yield from self.config(model, version)
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

    def config(self, model: str, version: Version) -> Conversation[pb.ModelConfig]:
        """Ask for the model's configuration (a Triton extension)."""
        request = pb.ModelConfigRequest(name=model, version=_version(version))
        answer = yield from _ask(_methods.MODEL_CONFIG, request, model)
        return answer.config

    def model_metadata(
        self, model: str, version: Version
    ) -> Conversation[pb.ModelMetadataResponse]:
        """Ask for the model's versions and tensors, and remember its signature."""
        version_text = _version(version)
        request = pb.ModelMetadataRequest(name=model, version=version_text)
        metadata = yield from _ask(_methods.MODEL_METADATA, request, model)
        self._signatures[model, version_text] = Signature.from_metadata(model, metadata)
        return metadata

    def server_metadata(self) -> Conversation[pb.ServerMetadataResponse]:
        """Ask for the server's name, version and extensions."""
        return (yield from _ask(_methods.SERVER_METADATA, pb.ServerMetadataRequest()))

    def health(self, model: str | None, version: Version) -> Conversation[bool]:
        """Ask whether the server, or one model, is ready."""
        if model is None:
            return (yield from _ask(_methods.SERVER_READY, pb.ServerReadyRequest())).ready
        request = pb.ModelReadyRequest(name=model, version=_version(version))
        return (yield from _ask(_methods.MODEL_READY, request, model)).ready

    def feedback(self, model: str, report: Report, version: Version) -> Conversation[str]:
        """Report all rows for one version, in as many calls as they need; return the version."""
        counted, counted_for = 0, _version(version)
        for request in report.requests(model, counted_for):
            # The newest version may change between two calls.
            request.model_version = counted_for
            try:
                answer = yield from _ask(_methods.FEEDBACK_REPORT, request, model)
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

    def _signature(self, key: tuple[str, str]) -> Conversation[Signature]:
        metadata = yield from self.model_metadata(*key)
        return Signature.from_metadata(key[0], metadata)

    def _infer(
        self, key: tuple[str, str], signature: Signature, x: Inputs, outputs: Sequence[str]
    ) -> Conversation[Array | Prediction]:
        request = _messages.request(*key, fit(signature, x), outputs)
        answer = yield from _ask(_methods.MODEL_INFER, request, signature.model)
        return _messages.read(answer, outputs)


def _ask(
    method: Method[Request, Answer], request: Request, model: str = ""
) -> Conversation[Answer]:
    answer: Answer = yield Call(method, request, model)
    return answer


def _version(version: Version) -> str:
    return "" if version is None else str(version)
