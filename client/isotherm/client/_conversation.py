"""The conversation behind each method of a client: which calls are made, and what is made of them.

Written once for `Client` and `AsyncClient`: a conversation is a generator that yields steps and is
sent what they gave, or has the error thrown in. It neither blocks nor awaits: the shells do.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

import grpc

from isotherm.client import _messages, _methods
from isotherm.client._coalescing import Batch, Group, Member, rows_to_share
from isotherm.client._errors import (
    CallCancelledError,
    ClosedError,
    InvalidAnswerError,
    InvalidInputError,
    IsothermError,
    NoContractError,
    NotFoundError,
    RemoteError,
    ServerFaultError,
    TransientError,
    UnsupportedError,
    for_another,
)
from isotherm.client._feedback import Report
from isotherm.client._hedge import Hedges
from isotherm.client._inputs import Fitted, Inputs, fit
from isotherm.client._interval import Interval, IntervalTensors
from isotherm.client._methods import Answer, Method, Request
from isotherm.client._prediction import Prediction
from isotherm.client._retry import Retries
from isotherm.client._served import Served, describe
from isotherm.client._settings import Settings
from isotherm.client._steps import Call, Conversation, Deadline, Enter, Gate, Pause
from isotherm.client._table import arrange, is_table
from isotherm.client._validation import check_finite, first_bad_rows
from isotherm.v1 import contract as contracts
from isotherm.v1 import open_inference_pb2 as pb
from isotherm.v1.contract_pb2 import Contract
from isotherm.v1.tensors import Array

Version: TypeAlias = int | str | None
Outputs: TypeAlias = str | Sequence[str] | None
# A model's name and version, "" for the server's choice.
Key: TypeAlias = tuple[str, str]

# Between two questions whether a server is ready.
_READY_PAUSE_S: Final = 0.1


class Conversations:
    """All conversations of one client. Remembers the models that it has asked about."""

    def __init__(self, settings: Settings) -> None:
        self.target = settings.target
        self.closed = False
        self.retries = Retries(settings.retry)
        self.hedges = None if settings.hedge is None else Hedges(settings.hedge)
        self._timeout_s = Deadline.after(settings.timeout_s).timeout_s
        self._coalesce = settings.coalesce
        self._served: dict[Key, Served] = {}
        # When, and why, a model could not be described.
        self._failed: dict[Key, tuple[float, IsothermError]] = {}

    def begin(self, timeout_s: float | None) -> Deadline:
        """Return the deadline of a new conversation; refuse one on a closed client."""
        if self.closed:
            self.check_open()
        return Deadline.after(self._timeout_s if timeout_s is None else timeout_s)

    def check_open(self) -> None:
        """Raise ClosedError after the client was closed."""
        if self.closed:
            msg = f"the client of {self.target} is closed"
            raise ClosedError(msg, target=self.target)

    def cut_off(self, model: str) -> CallCancelledError:
        """Return the error of a call that was in flight when the client was closed."""
        msg = f"the client of {self.target} was closed during the call"
        code = grpc.StatusCode.CANCELLED
        return CallCancelledError(msg, model=model, target=self.target, code=code)

    def member(
        self, model: str, x: Inputs, version: Version, outputs: Outputs, deadline: Deadline
    ) -> Member | None:
        """Return the caller as one of a group; None where it has to ask alone."""
        if not self._coalesce:
            return None
        key = (model, "" if version is None else str(version))
        served = self._served.get(key)
        if served is None or not served.merged_rows:
            return None
        try:
            fitted = _fitted(served, x)
        except InvalidInputError:
            # Perhaps another model has taken the name: alone it is asked about.
            return None
        rows = rows_to_share(fitted)
        if not 0 < rows <= served.merged_rows:
            return None
        wanted = (outputs,) if isinstance(outputs, str) else tuple(outputs or ())
        group = served.groups.get(wanted)
        if group is None:
            group = served.groups.setdefault(wanted, Group(served, key, wanted))
        return Member(group, x, fitted, rows, deadline)

    def together(self, batch: Batch) -> Conversation[None]:
        """Infer for all members of a batch, and hand each of them its rows or its error."""
        served: Served = batch.group.served
        fitted = batch.fitted()
        bad = _members_with_bad_rows(served, batch, fitted)
        if bad:
            for member in bad:
                yield from self._for_one(member)
            staying = batch.without(bad)
            if staying is not None:
                yield from self.together(staying)
            return
        try:
            answer = yield from self._send_tensors(
                served, batch.group.key, fitted, batch.group.outputs, batch.deadline
            )
            if not batch.deliver(_messages.read(answer, batch.group.outputs)):
                for member in batch.members:
                    yield from self._for_one(member)
            self._look_at_version(served, batch.group.key, answer)
        except (InvalidInputError, NotFoundError) as error:
            # One of them has a row that the model refuses, or another model has taken the name.
            if len(batch.members) == 1:
                yield from self._for_one(batch.members[0], error)
            elif isinstance(error, InvalidInputError):
                for half in batch.halves():
                    yield from self.together(half)
            else:
                for member in batch.members:
                    yield from self._for_one(member, error)
        except IsothermError as error:
            batch.fail(error)

    def predict(
        self, model: str, x: Inputs, version: Version, outputs: Outputs, deadline: Deadline
    ) -> Conversation[Array | Prediction]:
        """Infer with what is remembered of the model, and again if that is out of date."""
        key = (model, _version(version))
        wanted = (outputs,) if isinstance(outputs, str) else tuple(outputs or ())
        return (yield from self._predict(key, x, wanted, deadline))

    def interval(
        self, model: str, version: Version, deadline: Deadline
    ) -> Conversation[tuple[IntervalTensors, float]]:
        """Return what the interval's tensors are called, and the coverage that it promises."""
        key = (model, _version(version))
        served = self._served.get(key) or (yield from self._describe(key, deadline))
        # Without one, the error says which of the reasons it is.
        contract = served.contract or (yield from self.contract(model, version, deadline))
        tensors = contract.tensors
        if not contract.HasField("interval") or not (tensors.lower and tensors.upper):
            msg = f"model '{model}' at {self.target} has no prediction interval: ask predict"
            raise NoContractError(msg, model=model, target=self.target)
        names = IntervalTensors(tensors.prediction, tensors.lower, tensors.upper)
        return names, contract.interval.coverage

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
        request = pb.ModelConfigRequest(name=model, version=_version(version))
        answer = yield from self._ask(_methods.MODEL_CONFIG, request, model, deadline)
        return answer.config

    def model_metadata(
        self, model: str, version: Version, deadline: Deadline
    ) -> Conversation[pb.ModelMetadataResponse]:
        """Ask for the model's versions and tensors."""
        request = pb.ModelMetadataRequest(name=model, version=_version(version))
        return (yield from self._ask(_methods.MODEL_METADATA, request, model, deadline))

    def server_metadata(self, deadline: Deadline) -> Conversation[pb.ServerMetadataResponse]:
        """Ask for the server's name, version and extensions."""
        request = pb.ServerMetadataRequest()
        return (yield from self._ask(_methods.SERVER_METADATA, request, "", deadline))

    def health(self, model: str | None, version: Version, deadline: Deadline) -> Conversation[bool]:
        """Ask whether the server, or one model, is ready."""
        if model is None:
            ready = yield from self._ask(
                _methods.SERVER_READY, pb.ServerReadyRequest(), "", deadline
            )
            return ready.ready
        request = pb.ModelReadyRequest(name=model, version=_version(version))
        return (yield from self._ask(_methods.MODEL_READY, request, model, deadline)).ready

    def wait_ready(
        self, model: str | None, version: Version, deadline: Deadline
    ) -> Conversation[None]:
        """Ask until the answer is yes, or the time is up."""
        reason = "it says that it is not"
        cause: IsothermError | None = None
        while True:
            try:
                if (yield from self.health(model, version, deadline)):
                    return
            except (TransientError, NotFoundError, CallCancelledError) as error:
                # Started, loaded and found: all of that may come yet.
                reason, cause = str(error), error
            if deadline.left_s() <= _READY_PAUSE_S:
                what = "the server" if model is None else f"model '{model}'"
                msg = f"{what} was not ready within {deadline.timeout_s:g} s: {reason}"
                late = deadline.passed(model or "", self.target)
                late.args = (msg,)
                raise late from cause
            yield Pause(_READY_PAUSE_S)

    def statistics(
        self, model: str, version: Version, deadline: Deadline
    ) -> Conversation[pb.ModelStatisticsResponse]:
        """Ask for a model's counters, or for those of all."""
        request = pb.ModelStatisticsRequest(name=model, version=_version(version))
        return (yield from self._ask(_methods.MODEL_STATISTICS, request, model, deadline))

    def models(self, deadline: Deadline) -> Conversation[pb.RepositoryIndexResponse]:
        """Ask for all models, served or not."""
        request = pb.RepositoryIndexRequest()
        return (yield from self._ask(_methods.REPOSITORY_INDEX, request, "", deadline))

    def load(self, model: str, deadline: Deadline) -> Conversation[None]:
        """Have a model loaded, or loaded anew."""
        request = pb.RepositoryModelLoadRequest(model_name=model)
        yield from self._ask(_methods.MODEL_LOAD, request, model, deadline)

    def unload(self, model: str, deadline: Deadline) -> Conversation[None]:
        """Have a model unloaded."""
        request = pb.RepositoryModelUnloadRequest(model_name=model)
        yield from self._ask(_methods.MODEL_UNLOAD, request, model, deadline)

    def feedback(
        self, model: str, report: Report, version: Version, deadline: Deadline
    ) -> Conversation[str]:
        """Report all rows for one version, in as many calls as they need; return the version."""
        counted, counted_for = 0, _version(version)
        for request in report.requests(model, counted_for):
            # The newest version may change between two calls.
            request.model_version = counted_for
            try:
                answer = yield from self._ask(_methods.FEEDBACK_REPORT, request, model, deadline)
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

    def _predict(
        self, key: Key, x: Inputs, wanted: tuple[str, ...], deadline: Deadline
    ) -> Conversation[Array | Prediction]:
        served = self._served.get(key)
        if served is None:
            served = yield from self._describe(key, deadline)
            return (yield from self._infer(served, key, x, wanted, deadline))
        try:
            return (yield from self._infer(served, key, x, wanted, deadline))
        except (InvalidInputError, NotFoundError) as error:
            return (yield from self._if_changed(served, key, x, wanted, deadline, error))

    def _if_changed(
        self,
        served: Served,
        key: Key,
        x: Inputs,
        wanted: tuple[str, ...],
        deadline: Deadline,
        refusal: IsothermError,
    ) -> Conversation[Array | Prediction]:
        """Infer again where another model has taken the name since it was described."""
        fresh = yield from self._describe(key, deadline, instead_of=served)
        if not served.differs(fresh):
            raise refusal
        return (yield from self._infer(fresh, key, x, wanted, deadline))

    def _for_one(self, member: Member, refusal: IsothermError | None = None) -> Conversation[None]:
        """Infer for one member alone, whom the server has refused once or not asked about yet."""
        group, deadline = member.group, member.deadline
        try:
            if refusal is None:
                result = yield from self._predict(group.key, member.x, group.outputs, deadline)
            else:
                result = yield from self._if_changed(
                    group.served, group.key, member.x, group.outputs, deadline, for_another(refusal)
                )
        except IsothermError as error:
            member.waiter.fail(error)
        else:
            member.waiter.succeed(result)

    def _infer(
        self, served: Served, key: Key, x: Inputs, wanted: tuple[str, ...], deadline: Deadline
    ) -> Conversation[Array | Prediction]:
        fitted = _fitted(served, x)
        if served.contract is not None:
            check_finite(served.contract, fitted[0][2], model=key[0])
        answer = yield from self._send_tensors(served, key, fitted, wanted, deadline)
        if self._look_at_version(served, key, answer) and _is_table(served, x):
            # The new version may have its columns in another order.
            fresh = yield from self._describe(key, deadline, instead_of=served)
            if served.differs(fresh):
                return (yield from self._infer(fresh, key, x, wanted, deadline))
        return _messages.read(answer, wanted)

    def _send_tensors(
        self,
        served: Served,
        key: Key,
        fitted: Sequence[Fitted],
        wanted: tuple[str, ...],
        deadline: Deadline,
    ) -> Conversation[pb.ModelInferResponse]:
        request = _messages.request(*key, fitted, wanted)
        model = served.signature.model
        if self.hedges is None:
            return (yield from self._ask(_methods.MODEL_INFER, request, model, deadline))
        start = time.perf_counter()
        answer = yield from self._ask(
            _methods.MODEL_INFER, request, model, deadline, self.hedges.after_s()
        )
        self.hedges.answered(time.perf_counter() - start)
        return answer

    def _look_at_version(self, served: Served, key: Key, answer: pb.ModelInferResponse) -> bool:
        """Tell whether another version answered than the one described, and forget that one."""
        if not served.version or answer.model_version == served.version:
            return False
        if self._served.get(key) is served:
            self._served.pop(key, None)
        return True

    def _describe(
        self, key: Key, deadline: Deadline, instead_of: Served | None = None
    ) -> Conversation[Served]:
        """Ask about a model: one caller does, and all who come meanwhile wait for it."""
        since_s = time.monotonic()
        gate: Gate = yield Enter(key, deadline)
        try:
            known = self._served.get(key)
            if known is not None and known is not instead_of:
                return known
            failed = self._failed.get(key)
            if failed is not None and failed[0] >= since_s:
                raise for_another(failed[1]) from failed[1].__cause__
            try:
                metadata = yield from self.model_metadata(*key, deadline)
                config = yield from self._config_if_any(key, deadline)
            except IsothermError as error:
                self._failed[key] = time.monotonic(), for_another(error)
                raise
            self._failed.pop(key, None)
            served = describe(key, metadata, config)
            self._served[key] = served
            return served
        finally:
            gate.release()

    def _config_if_any(self, key: Key, deadline: Deadline) -> Conversation[pb.ModelConfig | None]:
        try:
            return (yield from self.config(*key, deadline))
        except (UnsupportedError, ServerFaultError):
            # Not every server has it, and some stumble over it.
            return None

    def _ask(
        self,
        method: Method[Request, Answer],
        request: Request,
        model: str,
        deadline: Deadline,
        hedge_after_s: float | None = None,
    ) -> Conversation[Answer]:
        """Make a call, and make it again while that may help and is allowed."""
        attempts = 0
        while True:
            attempts += 1
            try:
                answer: Answer = yield Call(method, request, model, deadline, hedge_after_s)
            except RemoteError as error:
                error.attempts = attempts
                pause_s = self.retries.pause_s(error, attempts) if method.repeatable else None
                if pause_s is None or pause_s >= deadline.left_s() or self.closed:
                    raise
            except InvalidInputError as error:
                error.attempts = attempts
                raise
            else:
                self.retries.succeeded()
                return answer
            yield Pause(pause_s)


def interval(names: IntervalTensors, coverage: float, prediction: Array | Prediction) -> Interval:
    """Return a prediction of the three tensors as an interval."""
    arrays = cast("Prediction", prediction)
    return Interval(arrays[names.prediction], arrays[names.lower], arrays[names.upper], coverage)


def _fitted(served: Served, x: Inputs) -> list[Fitted]:
    if _is_table(served, x):
        signature = served.signature
        if served.contract is None:
            names = signature.input_names
            msg = (
                f"model '{signature.model}' carries no contract, so columns cannot be matched: "
                f"pass an array of shape (rows, features), or a dict of arrays for {names}"
            )
            raise InvalidInputError(msg, model=signature.model)
        x = arrange(served.contract, x, model=signature.model)
    return fit(served.signature, x)


def _is_table(served: Served, x: Any) -> bool:
    if isinstance(x, Mapping):
        if served.contract is None:
            return False
        names = {spec.name for spec in served.signature.inputs}
        return not names & x.keys()
    return is_table(x)


def _members_with_bad_rows(served: Served, batch: Batch, fitted: Sequence[Fitted]) -> list[Member]:
    if served.contract is None:
        return []
    bad = first_bad_rows(served.contract, fitted[0][2])
    if not bad.size:
        return []
    rows = set(bad.tolist())
    members, start = [], 0
    for member in batch.members:
        stop = start + member.rows
        if rows.intersection(range(start, stop)):
            members.append(member)
        start = stop
    return members


def _version(version: Version) -> str:
    return "" if version is None else str(version)
