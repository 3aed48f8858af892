"""Inference: which calls a prediction takes, for one caller or several, and what is made of them.

Written once for `Client` and `AsyncClient`: a conversation is a generator that yields steps and is
sent what they gave, or has the error thrown in. It neither blocks nor awaits: the shells do.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence, Sized
from typing import Any, TypeAlias, cast

from isotherm.client._answer import Answer
from isotherm.client._coalescing import Batch, Group, Member
from isotherm.client._errors import (
    CallCancelledError,
    DeadlineExceededError,
    InvalidInputError,
    IsothermError,
    NoContractError,
    NotFoundError,
    ServerFaultError,
    UnsupportedError,
    for_another,
)
from isotherm.client._hedge import Hedges
from isotherm.client._inputs import Fitted, Inputs, fit
from isotherm.client._interval import Interval, IntervalTensors
from isotherm.client._methods import MODEL_INFER
from isotherm.client._prediction import Prediction
from isotherm.client._questions import Questions, Version, version_text
from isotherm.client._served import MOST_SHARED_ROWS, Format, Served, describe
from isotherm.client._settings import Settings
from isotherm.client._steps import Conversation, Deadline, Enter, Gate
from isotherm.client._table import arrange, is_table
from isotherm.client._validation import check
from isotherm.v1 import open_inference_pb2 as pb
from isotherm.v1.tensors import Array

Outputs: TypeAlias = str | Sequence[str] | None
# A model's name and version, "" for the server's choice.
Key: TypeAlias = tuple[str, str]


class Conversations(Questions):
    """All conversations of one client. Remembers the models that it has asked about."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.hedges = None if settings.hedge is None else Hedges(settings.hedge)
        self._coalesce = settings.coalesce
        self._refuses_unknown = settings.unknown == "error"
        self._most_lanes = settings.connections
        self._served: dict[Key, Served] = {}
        # When, and why, a model could not be described.
        self._failed: dict[Key, tuple[float, IsothermError]] = {}

    def member(
        self, model: str, x: Inputs, version: Version, outputs: Outputs, deadline: Deadline
    ) -> Member | None:
        """Return the caller as one of a group; None where it has to ask alone."""
        key = (model, "" if version is None else str(version))
        served = self._served.get(key)
        if served is None or not served.merged_rows or not self._coalesce:
            return None
        fitted = _fitted_if_small(served, x)
        rows = 0 if fitted is None else served.rows_to_share(fitted)
        if fitted is None or not rows:
            return None
        group = self._group(served, key, _wanted(outputs))
        return None if group is None else Member(group, x, fitted, rows, deadline)

    def part_of_stream(
        self, model: str, x: Inputs, version: Version, outputs: Outputs, deadline: Deadline
    ) -> Member | None:
        """Return a batch as one of several that may share a request; None where it has to alone."""
        key = (model, version_text(version))
        served = self._served.get(key)
        if served is None or not served.merged_rows or not self._coalesce:
            return None
        try:
            fitted = _fitted(served, x)
        except InvalidInputError:
            return None
        rows = {array.shape[0] for _, _, array in fitted}
        group = self._group(served, key, _wanted(outputs)) if len(rows) == 1 else None
        return None if group is None else Member(group, x, fitted, rows.pop(), deadline)

    def predict(
        self, model: str, x: Inputs, version: Version, outputs: Outputs, deadline: Deadline
    ) -> Conversation[Array | Prediction]:
        """Infer with what is remembered of the model, and again if that is out of date."""
        return self._predict((model, version_text(version)), x, _wanted(outputs), deadline)

    def together(self, batch: Batch) -> Conversation[None]:
        """Infer for all members of a batch, and hand each of them its rows or its error."""
        group = batch.group
        request = batch.request()
        bad = _members_with_bad_rows(group.served, batch, request)
        if bad:
            for member in bad:
                yield from self._for_one(member)
            staying = batch.without(bad)
            if staying is not None:
                yield from self.together(staying)
            return
        try:
            answer = yield from self._send(
                group.format, group.key, request, batch.deadline, batch.callers()
            )
            # A new version may have its columns in another order.
            moved = self.look_at_version(group.served, group.key, answer)
            tables = moved and any(_is_table(group.served, each.x) for each in batch.members)
            if tables or not batch.deliver(answer.result):
                for member in batch.members:
                    yield from self._for_one(member)
        except IsothermError as error:
            yield from self._part(batch, error)

    def _group(self, served: Served, key: Key, wanted: tuple[str, ...]) -> Group | None:
        group = served.groups.get(wanted)
        if group is None and not served.lacks(wanted):
            made = Group(served, key, wanted, self._most_lanes)
            group = served.groups.setdefault(wanted, made)
        return group

    def answer_of(self, group: Group, data: bytes) -> Array | Prediction:
        """Return what answers the request of one caller alone."""
        self.retries.succeeded()
        answer: Answer = group.format.reader.read(data)
        if answer.version != group.served.version:
            self.look_at_version(group.served, group.key, answer)
        return answer.result

    def alone(
        self, group: Group, x: Inputs, deadline: Deadline
    ) -> Conversation[Array | Prediction]:
        """Infer for one caller, beginning with the call of the inference itself."""
        served, key, wanted = group.served, group.key, group.outputs
        try:
            return (yield from self._infer(served, key, x, wanted, deadline))
        except (InvalidInputError, NotFoundError) as error:
            return (yield from self._if_changed(served, key, x, wanted, deadline, error))

    def interval(
        self, model: str, version: Version, deadline: Deadline
    ) -> Conversation[tuple[IntervalTensors, float]]:
        """Return what the interval's tensors are called, and the coverage that it promises."""
        key = (model, version_text(version))
        served = self._served.get(key) or (yield from self._describe(key, deadline))
        # Without one, the error says which of the reasons it is.
        contract = served.contract or (yield from self.contract(model, version, deadline))
        tensors = contract.tensors
        if not contract.HasField("interval") or not (tensors.lower and tensors.upper):
            msg = f"model '{model}' at {self.target} has no prediction interval: ask predict"
            raise NoContractError(msg, model=model, target=self.target)
        names = IntervalTensors(tensors.prediction, tensors.lower, tensors.upper)
        return names, contract.interval.coverage

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

    def _part(self, batch: Batch, error: IsothermError) -> Conversation[None]:
        """Find out whom of a batch an error is meant for."""
        members = batch.members
        if isinstance(error, NotFoundError):
            # Another model may have taken the name.
            for member in members:
                yield from self._for_one(member, error)
            return
        # One of them may have a row that the model refuses, or that breaks it. The server that
        # breaks on everything is spared.
        refused = isinstance(error, InvalidInputError)
        broken = isinstance(error, ServerFaultError)
        if len(members) > 1 and (refused or (broken and self.retries.afford())):
            for half in batch.halves():
                yield from self.together(half)
        elif len(members) == 1 and refused:
            yield from self._for_one(members[0], error)
        else:
            batch.fail(error)

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
            member.fail(error)
        else:
            member.succeed(result)

    def _infer(
        self, served: Served, key: Key, x: Inputs, wanted: tuple[str, ...], deadline: Deadline
    ) -> Conversation[Array | Prediction]:
        lacking = served.lacks(wanted)
        if lacking:
            names = ", ".join(spec.name for spec in served.outputs)
            msg = f"model '{key[0]}' has no output '{lacking[0]}', only {names}"
            raise InvalidInputError(msg, model=key[0])
        fitted = _fitted(served, x)
        if served.cells is not None and fitted:
            check(served.cells, fitted[0][2], model=key[0])
        written = served.format(key, wanted)
        request = written.envelope.request(fitted)
        answer = yield from self._send(written, key, request, deadline)
        if self.look_at_version(served, key, answer) and _is_table(served, x):
            # The new version may have its columns in another order.
            fresh = yield from self._describe(key, deadline, instead_of=served)
            if served.differs(fresh):
                return (yield from self._infer(fresh, key, x, wanted, deadline))
        return answer.result

    def _send(
        self,
        written: Format,
        key: Key,
        request: bytes,
        deadline: Deadline,
        callers: tuple[Any, ...] = (),
    ) -> Conversation[Answer]:
        hedges = self.hedges
        after_s = None if hedges is None else hedges.after_s()
        start = time.perf_counter()
        data = yield from self.ask(MODEL_INFER, request, key[0], deadline, after_s, callers)
        if hedges is not None:
            hedges.answered(time.perf_counter() - start)
        return written.reader.read(data)

    def look_at_version(self, served: Served, key: Key, answer: Answer) -> bool:
        """Tell whether another version answered than the one described, and forget that one."""
        if not served.version or answer.version == served.version:
            return False
        served.forget()
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
                # That its time was up is this caller's own affair.
                if not isinstance(error, CallCancelledError | DeadlineExceededError):
                    self._failed[key] = time.monotonic(), for_another(error)
                raise
            self._failed.pop(key, None)
            served = describe(key, metadata, config, refuse_unknown=self._refuses_unknown)
            if known is not None:
                known.forget()
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


def interval(names: IntervalTensors, coverage: float, prediction: Array | Prediction) -> Interval:
    """Return a prediction of the three tensors as an interval."""
    arrays = cast("Prediction", prediction)
    return Interval(arrays[names.prediction], arrays[names.lower], arrays[names.upper], coverage)


def _wanted(outputs: Outputs) -> tuple[str, ...]:
    if outputs is None:
        return ()
    return (outputs,) if isinstance(outputs, str) else tuple(outputs)


def _fitted(served: Served, x: Inputs) -> Sequence[Fitted]:
    fitted = None if served.plain is None else served.plain.fitted(x)
    if fitted is not None:
        return fitted
    if served.contract is not None and _is_table(served, x):
        model, lookups = served.signature.model, served.lookups
        x = arrange(served.contract, x, model=model, lookups=lookups)
    return fit(served.signature, x)


def _fitted_if_small(served: Served, x: Inputs) -> Sequence[Fitted] | None:
    fitted = None if served.plain is None else served.plain.fitted(x)
    if fitted is not None:
        return fitted
    try:
        if isinstance(x, Sized) and len(x) > MOST_SHARED_ROWS:
            return None
        return _fitted(served, x)
    except (InvalidInputError, TypeError):
        # Perhaps another model has taken the name: alone it is asked about. And an array without
        # dimensions says that it has a length, and has none.
        return None


def _is_table(served: Served, x: Any) -> bool:
    """Tell whether the rows are matched by the names of their columns."""
    if served.contract is None:
        return False
    if isinstance(x, Mapping):
        # The names of the inputs win.
        return x.keys() != {spec.name for spec in served.signature.inputs}
    return is_table(x)


def _members_with_bad_rows(served: Served, batch: Batch, request: bytes) -> list[Member]:
    cells, plain = served.cells, served.plain
    if cells is None or not cells.refuses:
        return []
    # Nearly always there are none, and one look at all of them is enough.
    if plain is not None and cells.refused(plain.elements(request, batch.rows)) is None:
        return []
    return [member for member in batch.members if cells.refused(member.array) is not None]
