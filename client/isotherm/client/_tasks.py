"""The asyncio shell: tasks that drive conversations, and share one another's requests."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Iterable,
    Sequence,
)
from contextlib import nullcontext
from typing import Any, Final, NamedTuple, cast

from isotherm.client._asyncio_calls import AsyncioCalls
from isotherm.client._coalescing import Batch, Group, Member
from isotherm.client._conversation import Conversations, Outputs
from isotherm.client._errors import IsothermError
from isotherm.client._inputs import Inputs
from isotherm.client._prediction import Prediction
from isotherm.client._questions import Version
from isotherm.client._settings import Settings
from isotherm.client._shortcut import Shortcuts
from isotherm.client._steps import Call, Conversation, Deadline, Enter, Gate, Pause, Result, Step
from isotherm.client._stream import Packing, Parcel, Slot, until_broken
from isotherm.client._trace import current, prediction, traces
from isotherm.v1.tensors import Array

_NO_SPAN: Final = nullcontext()


class Tasks:
    """Drives the conversations of one asyncio client."""

    def __init__(self, settings: Settings) -> None:
        self.conversations = Conversations(settings)
        self._calls = AsyncioCalls(settings, self.conversations)
        self._shortcuts = Shortcuts(self.conversations)
        self._gates: dict[tuple[str, str], asyncio.Lock] = {}
        # The loop itself holds tasks weakly.
        self._tasks: set[asyncio.Task[None]] = set()
        self._groups: set[Group] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._sweep_at_s = float("inf")

    async def close(self) -> None:
        """End all calls in flight."""
        self.conversations.closed = True
        await self._calls.close()
        if self._sweep is not None:
            self._sweep.cancel()

    async def run(self, conversation: Conversation[Result]) -> Result:
        """Take all steps of a conversation and return what it comes to."""
        try:
            step = next(conversation)
            while True:
                try:
                    given = await self._take(step)
                except IsothermError as error:
                    step = conversation.throw(error)
                else:
                    step = conversation.send(given)
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
    ) -> Awaitable[Array | Prediction]:
        """Infer, together with other tasks where they ask at the same time.

        Whoever is cancelled while it waits for this calls `forsake`.
        """
        member = self._shortcuts.member(model, x, version, outputs, timeout_s)
        if member is not None:
            # One coroutine less for each call, which is worth a fortieth of its time.
            return self._join(member)
        return self._predict(model, x, version, outputs, self.conversations.begin(timeout_s))

    def forsake(self) -> None:
        """Have the requests cancelled that nobody waits for any more."""
        for group in self._groups:
            for batch in group.running:
                if isinstance(batch, Batch) and all(each.waiter.done() for each in batch.members):
                    batch.task.cancel()

    async def _predict(
        self, model: str, x: Inputs, version: Version, outputs: Outputs, deadline: Deadline
    ) -> Array | Prediction:
        conversations = self.conversations
        with prediction(model, conversations.target) if traces() else _NO_SPAN:
            member = conversations.member(model, x, version, outputs, deadline)
            if member is None:
                return await self.run(conversations.predict(model, x, version, outputs, deadline))
            member.span = current()
            self._shortcuts.remember(member.group, model, version, outputs)
            return await self._join(member)

    def _join(self, member: Member) -> asyncio.Future[Array | Prediction]:
        future: asyncio.Future[Array | Prediction] = asyncio.Future()
        member.waiter = future
        group = member.group
        group.pending.append(member)
        if not group.called:
            # Those who come in this turn of the loop go along.
            group.called = True
            self._groups.add(group)
            asyncio.get_running_loop().call_soon(self._start, group)
        if member.at_s < self._sweep_at_s:
            self._sweep_by(member.at_s)
        return future

    def stream(
        self,
        model: str,
        batches: Iterable[Inputs] | AsyncIterable[Inputs],
        version: Version,
        outputs: Outputs,
        timeout_s: float | None,
        in_flight: int,
    ) -> AsyncGenerator[Array | Prediction, None]:
        """Infer for one batch after the other, with several requests on their way."""
        packing = Packing(self.conversations, model, version, outputs, timeout_s, in_flight)
        return self._flow(packing, batches)

    async def _flow(
        self,
        packing: Packing,
        batches: Iterable[Inputs] | AsyncIterable[Inputs],
    ) -> AsyncGenerator[Array | Prediction, None]:
        waiting: deque[_Journey] = deque()
        broken: list[Exception] = []

        async def answered() -> Sequence[Slot]:
            journey = waiting.popleft()
            try:
                await journey.task
            finally:
                # Cancelled with whoever waits here.
                journey.task.cancel()
            return packing.take_out(journey.parcel)

        try:
            async for x in _each(batches, broken):
                # The next request is on its way before the caller works on an answer.
                slots = await answered() if packing.is_long() else ()
                waiting.extend(map(self._begin, packing.add(x)))
                if packing.is_long() or packing.is_full():
                    waiting.extend(map(self._begin, packing.rest()))
                if packing.is_full():
                    slots = *slots, *(await answered())
                for slot in slots:
                    yield slot.outcome()
            waiting.extend(map(self._begin, packing.rest()))
            while waiting:
                for slot in await answered():
                    yield slot.outcome()
            if broken:
                raise broken[0]
        finally:
            tasks = [journey.task for journey in waiting]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, parcel: Parcel) -> _Journey:
        return _Journey(parcel, asyncio.create_task(self.run(parcel.conversation)))

    async def _take(self, step: Step) -> Any:
        if isinstance(step, Call):
            return await self._calls.make(step)
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        return await self._enter(step)

    async def _enter(self, step: Enter) -> Gate:
        gate = self._gates.get(step.key) or self._gates.setdefault(step.key, asyncio.Lock())
        try:
            async with asyncio.timeout(step.deadline.left_s()):
                await gate.acquire()
        except TimeoutError:
            raise step.deadline.passed(step.key[0], self.conversations.target) from None
        return gate

    def _start(self, group: Group) -> None:
        group.called = False
        batch = group.take()
        if batch is not None:
            self._launch(batch)
        if group.pending and not group.watched:
            # Whoever is out should be back by then.
            group.watched = True
            asyncio.get_running_loop().call_later(group.patience_s, self._look_again, group)

    def _look_again(self, group: Group) -> None:
        group.watched = False
        self._start(group)

    def _launch(self, batch: Batch) -> None:
        batch.task = asyncio.get_running_loop().create_task(
            self.run(self.conversations.together(batch))
        )
        self._tasks.add(batch.task)
        batch.task.add_done_callback(lambda task: self._landed(task, batch))

    def _landed(self, task: asyncio.Task[None], batch: Batch) -> None:
        """Tell those who still wait, and send the next: the task itself may never have begun."""
        self._tasks.discard(task)
        if task.cancelled():
            # Nobody waits any more, or the loop ends.
            for member in batch.members:
                member.waiter.cancel()
        elif (error := task.exception()) is not None:
            for member in batch.members:
                if not member.waiter.done():
                    member.waiter.set_exception(error)
        following = batch.group.finish(batch)
        if following is not None:
            self._launch(following)

    def _sweep_by(self, at_s: float) -> None:
        """Look by then for callers whose time is up: one timer for all of them."""
        if self._sweep is not None:
            self._sweep.cancel()
        self._sweep_at_s = at_s
        loop = asyncio.get_running_loop()
        self._sweep = loop.call_later(max(0.0, at_s - time.monotonic()), self._look_for_late)

    def _look_for_late(self) -> None:
        self._sweep, self._sweep_at_s = None, float("inf")
        now_s = time.monotonic()
        next_at_s = float("inf")
        for group in list(self._groups):
            members = [*group.pending, *(one for batch in group.running for one in batch.members)]
            for member in members:
                if member.waiter.done():
                    continue
                if member.at_s > now_s:
                    next_at_s = min(next_at_s, member.at_s)
                    continue
                model = group.key[0]
                member.waiter.set_exception(
                    member.deadline.passed(model, self.conversations.target)
                )
            if not members:
                self._groups.discard(group)
        self.forsake()
        if next_at_s < self._sweep_at_s:
            self._sweep_by(next_at_s)


class _Journey(NamedTuple):
    """A parcel that is on its way."""

    parcel: Parcel
    task: asyncio.Task[None]


async def _each(
    batches: Iterable[Inputs] | AsyncIterable[Inputs], broken: list[Exception]
) -> AsyncIterator[Inputs]:
    if isinstance(batches, AsyncIterable):
        try:
            async for x in batches:
                yield x
        except Exception as error:  # noqa: BLE001  raised when its turn has come
            broken.append(error)
    else:
        for x in until_broken(batches, broken):
            yield x
