"""The blocking shell: threads that drive conversations, and lead one another's requests."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext, suppress
from contextvars import copy_context
from functools import partial
from typing import Any, Final, cast

from isotherm.client._blocking_calls import BlockingCalls
from isotherm.client._coalescing import Batch, Lone, Member, PlainMember
from isotherm.client._conversation import Conversations, Outputs
from isotherm.client._errors import IsothermError
from isotherm.client._inputs import Inputs
from isotherm.client._methods import MODEL_INFER
from isotherm.client._prediction import Prediction
from isotherm.client._questions import Version
from isotherm.client._settings import Settings
from isotherm.client._shortcut import Shortcuts
from isotherm.client._steps import Call, Conversation, Deadline, Enter, Gate, Pause, Result, Step
from isotherm.client._stream import REQUESTS, Packing, Parcel, Slot, until_broken
from isotherm.client._ticket import Ticket
from isotherm.client._trace import current, prediction, traces
from isotherm.v1.tensors import Array

_NO_SPAN: Final = nullcontext()
# How many others a woken thread wakes. One thread that woke all of them would hold the interpreter
# meanwhile, while they queue for it.
_HEIRS: Final = 4


class Threads:
    """Drives the conversations of one blocking client."""

    def __init__(self, settings: Settings) -> None:
        self.conversations = Conversations(settings)
        self._calls = BlockingCalls(settings, self.conversations)
        self._gates: dict[tuple[str, str], threading.Lock] = {}
        self._shortcuts = Shortcuts(self.conversations)
        self._closed = threading.Event()

    def close(self) -> None:
        """End all calls in flight."""
        self.conversations.closed = True
        self._closed.set()
        self._calls.close()

    def run(self, conversation: Conversation[Result]) -> Result:
        """Take all steps of a conversation and return what it comes to."""
        try:
            return self._go_on(conversation, next(conversation))
        except StopIteration as end:
            return cast("Result", end.value)
        finally:
            conversation.close()

    def predict(
        self,
        model: str,
        x: Inputs,
        version: Version,
        outputs: Outputs,
        timeout_s: float | None,
    ) -> Array | Prediction:
        """Infer, together with other threads where they ask at the same time."""
        member = self._shortcuts.member(model, x, version, outputs, timeout_s)
        if member is not None:
            return self._share(member)
        deadline = self.conversations.begin(timeout_s)
        with prediction(model, self.conversations.target) if traces() else _NO_SPAN:
            return self._predict(model, x, version, outputs, deadline)

    def _predict(
        self, model: str, x: Inputs, version: Version, outputs: Outputs, deadline: Deadline
    ) -> Array | Prediction:
        conversations = self.conversations
        member = conversations.member(model, x, version, outputs, deadline)
        if member is None:
            return self.run(conversations.predict(model, x, version, outputs, deadline))
        member.span = current()
        self._shortcuts.remember(member.group, model, version, outputs)
        return self._share(member)

    def _share(self, member: Member) -> Array | Prediction:
        """Infer at once where nobody else asks, else together with those who do."""
        group = member.group
        with group.lock:
            if not group.running and not group.pending and isinstance(member, PlainMember):
                lone = Lone(time.monotonic())
                group.running.add(lone)
            else:
                lone = None
                member.waiter = Ticket()
                group.pending.append(member)
                self._appoint(group.take())
        if lone is not None:
            return self._ask_alone(member, lone)
        batch = self._wait(member)
        if batch is not None:
            self._lead(batch)
        ticket: Ticket = member.waiter
        return ticket.outcome()

    def _ask_alone(self, member: Member, lone: Lone) -> Array | Prediction:
        group = member.group
        try:
            request = group.served.plain.request(group.format.envelope, member.array)
            refusal: IsothermError | None = None
            if request is not None:
                try:
                    data = self._calls.send(
                        MODEL_INFER.path,
                        request,
                        group.key[0],
                        max(0.0, member.at_s - time.monotonic()),
                    )
                except IsothermError as error:
                    refusal = error
                else:
                    return self.conversations.answer_of(group, data)
            return self._go_on_alone(member, refusal)
        finally:
            with group.lock:
                following = group.finish(lone)
                if following is not None:
                    self._appoint(following)

    def _go_on_alone(self, member: Member, refusal: IsothermError | None) -> Array | Prediction:
        """Infer by a conversation, perhaps after a first attempt that has failed."""
        conversation = self.conversations.alone(member.group, member.x, member.deadline)
        try:
            step = next(conversation)
            if refusal is not None:
                # It was the one that the conversation begins with.
                step = conversation.throw(refusal)
            return self._go_on(conversation, step)
        except StopIteration as end:
            return cast("Array | Prediction", end.value)
        finally:
            conversation.close()

    def stream(
        self,
        model: str,
        batches: Iterable[Inputs],
        version: Version,
        outputs: Outputs,
        timeout_s: float | None,
        in_flight: int,
    ) -> Generator[Array | Prediction, None, None]:
        """Infer for one batch after the other, with several requests on their way."""
        packing = Packing(self.conversations, model, version, outputs, timeout_s, in_flight)
        return self._flow(packing, batches)

    def _flow(
        self, packing: Packing, batches: Iterable[Inputs]
    ) -> Generator[Array | Prediction, None, None]:
        waiting: deque[tuple[Parcel, Future[None]]] = deque()
        broken: list[Exception] = []
        # Threads that wait for answers: gRPC's own way to do without them costs a thread for each
        # request, and a Ctrl-C in the middle of it leaves a channel that cannot be closed.
        pool = ThreadPoolExecutor(REQUESTS, "isotherm-stream")

        def send(parcels: Iterable[Parcel]) -> None:
            for parcel in parcels:
                # The program's spans and the like go along.
                context = copy_context()
                waiting.append((parcel, pool.submit(context.run, self.run, parcel.conversation)))

        def answered() -> Sequence[Slot]:
            parcel, future = waiting.popleft()
            future.result()
            return packing.take_out(parcel)

        try:
            for x in until_broken(batches, broken):
                # The next request is on its way before the caller works on an answer.
                slots = answered() if packing.is_long() else ()
                send(packing.add(x))
                if packing.is_long() or packing.is_full():
                    send(packing.rest())
                if packing.is_full():
                    slots = *slots, *answered()
                for slot in slots:
                    yield slot.outcome()
            send(packing.rest())
            while waiting:
                for slot in answered():
                    yield slot.outcome()
            if broken:
                raise broken[0]
        finally:
            # Nobody waits for what is on its way: it ends by itself, or with the client.
            pool.shutdown(wait=False, cancel_futures=True)

    def _go_on(self, conversation: Conversation[Result], step: Step) -> Result:
        try:
            while True:
                try:
                    given = self._take(step)
                except IsothermError as error:
                    step = conversation.throw(error)
                else:
                    step = conversation.send(given)
        except StopIteration as end:
            return cast("Result", end.value)

    def _take(self, step: Step) -> Any:
        if isinstance(step, Call):
            return self._calls.make(step)
        if isinstance(step, Pause):
            self._closed.wait(step.seconds)
            return None
        return self._enter(step)

    def _enter(self, step: Enter) -> Gate:
        gate = self._gates.get(step.key) or self._gates.setdefault(step.key, threading.Lock())
        if not gate.acquire(timeout=step.deadline.left_s()):
            raise step.deadline.passed(step.key[0], self.conversations.target)
        return gate

    def _wait(self, member: Member) -> Batch | None:
        """Wait for rows; return the request that this thread is to make, if it is chosen."""
        ticket: Ticket = member.waiter
        group = member.group
        woken = False
        try:
            while (left_s := member.at_s - time.monotonic()) > 0:
                woken = ticket.wait(min(left_s, group.patience_s))
                if woken or ticket.over:
                    return ticket.lead
                # Whoever is out should be back by now.
                with group.lock:
                    self._appoint(group.take())
        except BaseException:
            self._leave(member)
            raise
        finally:
            if not woken:
                with group.lock:
                    ticket.asleep = False
            ticket.wake_heirs()
        if self._leave(member):
            raise member.deadline.passed(group.key[0], self.conversations.target)
        return None

    def _leave(self, member: Member) -> bool:
        """Wait no longer; return whether that was in vain."""
        ticket: Ticket = member.waiter
        group = member.group
        with group.lock:
            in_vain = not ticket.over
            ticket.over = True
            if ticket.lead is not None:
                # Chosen too late: somebody else must.
                group.put_back(ticket.lead)
                self._appoint(group.finish(ticket.lead))
        return in_vain

    def _lead(self, batch: Batch) -> None:
        group = batch.group
        if len(batch.members) > 1:
            batch.wake = partial(self._wake, batch)
        try:
            self.run(self.conversations.together(batch))
        except BaseException:
            # Interrupted, most likely: the others still wait, if only to be woken.
            batch.leader.waiter.over = True
            for member in batch.members:
                if member.waiter.over:
                    with suppress(RuntimeError):
                        member.waiter.ring()
            with group.lock:
                group.put_back(batch)
            raise
        finally:
            with group.lock:
                self._appoint(group.finish(batch))

    def _wake(self, batch: Batch) -> None:
        """Let the next request be made, and then all members go on who have their rows."""
        group = batch.group
        with group.lock:
            self._appoint(group.finish(batch))
            sleeping = (each.waiter for each in batch.members if each is not batch.leader)
            tickets = [ticket for ticket in sleeping if ticket.asleep]
            for index, heirs in enumerate(range(_HEIRS, len(tickets), _HEIRS)):
                tickets[index].bequeath(tickets[heirs : heirs + _HEIRS])
        for ticket in tickets[:_HEIRS]:
            ticket.ring()

    def _appoint(self, batch: Batch | None) -> None:
        if batch is not None:
            batch.leader.waiter.appoint(batch)
