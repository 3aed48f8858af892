"""Coalescing: the rows of callers who ask at the same time travel in one request.

A group sends at once while nothing of it is on the way, and gathers callers while something is. So
an idle client delays nobody, and a busy one makes fewer and larger requests the busier it is.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, takewhile
from operator import attrgetter
from typing import Any, Final, Protocol

import numpy as np

from isotherm.client._errors import IsothermError, for_another
from isotherm.client._inputs import Fitted
from isotherm.client._prediction import Part, Prediction
from isotherm.client._request import Envelope
from isotherm.client._steps import Deadline
from isotherm.v1.tensors import Array

# More than one request of a group is on its way at the same time only where they take so long that
# nothing is won by waiting: one more for each such time.
_LANE_S: Final = 0.02
# A request that is out for so many times the usual, and for so long at least, holds up nobody:
# those who wait go ahead of it, on another connection. A silent server gets no more than a few.
_TIMES_THE_USUAL: Final = 4
_PATIENCE_S: Final = 0.05
_MOST_RUNNING: Final = 8
# The weight of the last request in what is usual.
_NEWS: Final = 0.1


class Waiter(Protocol):
    """Whom an answer is for, as a future: a task's is one of asyncio's."""

    def done(self) -> bool:
        """Tell whether it waits no more."""
        ...

    def set_result(self, result: Any) -> None:
        """Hand it its rows; it must be waiting."""
        ...

    def set_exception(self, error: Any) -> None:
        """Hand it an error of its own; it must be waiting."""
        ...


class Member:
    """One caller of a group, with its rows as they will travel."""

    __slots__ = ("array", "at_s", "deadline", "fitted", "group", "rows", "span", "waiter", "x")

    def __init__(
        self, group: Group, x: Any, fitted: Sequence[Fitted], rows: int, deadline: Deadline
    ) -> None:
        self.group = group
        self.x = x
        self.fitted = fitted
        # Of the first input tensor: nearly always there is one.
        self.array: Array = fitted[0][2]
        self.rows = rows
        self.deadline = deadline
        # By when the caller wants its rows, as a reading of `time.monotonic`.
        self.at_s = deadline.at_s
        self.waiter: Any = None
        # Of OpenTelemetry, where somebody traces.
        self.span: Any = None

    def succeed(self, result: Array | Prediction) -> None:
        """Hand it its rows, if it still waits."""
        if not self.waiter.done():
            self.waiter.set_result(result)

    def fail(self, error: IsothermError) -> None:
        """Hand it an error of its own, if it still waits."""
        if not self.waiter.done():
            self.waiter.set_exception(error)


class PlainMember(Member):
    """A caller whose array is its model's only input as it is.

    Every object that waits for an answer is one that the garbage collector looks at meanwhile, and
    that took a third of the time: what can be made when it is needed is not kept.
    """

    __slots__ = ("_timeout_s",)

    def __init__(self, group: Group, x: Array, rows: int, at_s: float, timeout_s: float) -> None:
        self.group = group
        self.x = self.array = x
        self.rows = rows
        self.waiter = self.span = None
        self.at_s = at_s
        self._timeout_s = timeout_s

    @property
    def deadline(self) -> Deadline:  # type: ignore[override]
        """The same with the timeout."""
        return Deadline(self.at_s, self._timeout_s)

    @property
    def fitted(self) -> Sequence[Fitted]:  # type: ignore[override]
        """The input tensor."""
        plain = self.group.served.plain
        return ((plain.name, plain.datatype, self.array),)


class Group:
    """Callers of one model who want the same outputs. A shell of threads takes the lock."""

    def __init__(
        self, served: Any, key: tuple[str, str], outputs: tuple[str, ...], most_lanes: int
    ) -> None:
        """Up to `most_lanes` requests are on their way at the same time."""
        self.served = served
        self._most_lanes = most_lanes
        self.format = served.format(key, outputs)
        self.key = key
        self.outputs = outputs
        self.pending: deque[Member] = deque()
        self.running: set[Batch | Lone] = set()
        # Whether the model is another one by now.
        self.stale = False
        # For threads.
        self.lock = threading.Lock()
        # For tasks: whether a look at those who wait has been ordered, at once or for later.
        self.called = False
        self.watched = False
        # How long its requests take, and how long one may be out before others go ahead of it.
        self._usual_s = 0.0
        self.patience_s = _PATIENCE_S

    def take(self) -> Batch | None:
        """Return the next request to make; None while enough are on the way, or nobody waits."""
        if self.running and not self._has_room():
            return None
        members = [member for member in self.pending if not member.waiter.done()]
        self.pending.clear()
        if not members:
            return None
        batch = Batch(self, members)
        limit = self.served.merged_rows
        if batch.rows > limit:
            stops = accumulate(member.rows for member in members)
            count = max(1, sum(1 for _ in takewhile(lambda stop: stop <= limit, stops)))
            self.pending.extend(members[count:])
            batch = Batch(self, members[:count])
        self.running.add(batch)
        return batch

    def finish(self, batch: Batch | Lone) -> Batch | None:
        """Return the next request after one that is over; None where that was known before."""
        if batch not in self.running:
            return None
        self.running.discard(batch)
        # One that hung says nothing about the others.
        took_s = min(time.monotonic() - batch.begun_at_s, 2 * self.patience_s)
        self._usual_s += _NEWS * (took_s - self._usual_s)
        self.patience_s = max(_PATIENCE_S, _TIMES_THE_USUAL * self._usual_s)
        return self.take() if self.pending else None

    def put_back(self, batch: Batch) -> None:
        """Let those wait again whose request was given up on the way."""
        self.pending.extendleft(
            member for member in reversed(batch.members) if not member.waiter.done()
        )

    def _has_room(self) -> bool:
        running = len(self.running)
        if running < min(self._most_lanes, 1 + int(self._usual_s / _LANE_S)):
            return True
        late_s = time.monotonic() - self.patience_s
        return running < _MOST_RUNNING and all(batch.begun_at_s < late_s for batch in self.running)


class Lone:
    """A request that a caller makes alone, without further ado."""

    __slots__ = ("begun_at_s",)
    members: tuple[Member, ...] = ()

    def __init__(self, begun_at_s: float) -> None:
        """`begun_at_s` is a reading of `time.monotonic`."""
        self.begun_at_s = begun_at_s


_at_s = attrgetter("at_s")


class Batch:
    """Callers whose rows go into one request."""

    __slots__ = ("begun_at_s", "deadline", "group", "leader", "members", "rows", "task", "wake")

    def __init__(self, group: Group, members: list[Member]) -> None:
        self.group = group
        self.members = members
        self.rows = sum([member.rows for member in members])
        # Who can wait longest: nobody is cut off by another's hurry.
        self.leader = members[0] if len(members) == 1 else max(members, key=_at_s)
        self.deadline = self.leader.deadline
        self.begun_at_s = time.monotonic()
        # Of asyncio, while it runs.
        self.task: Any = None
        # Wakes all members at once, where a shell can do that for less than one by one.
        self.wake: Callable[[], None] | None = None

    def callers(self) -> tuple[Any, ...]:
        """Return the members' spans."""
        return tuple(member.span for member in self.members if member.span is not None)

    def request(self) -> bytes:
        """Return the request with all members' rows, one after the other."""
        members = self.members
        envelope: Envelope = self.group.format.envelope
        plain = self.group.served.plain
        if plain is not None:
            arrays = [member.array for member in members]
            return envelope.merged(plain.name, plain.datatype, arrays)
        if len(members) == 1:
            return envelope.request(members[0].fitted)
        return envelope.request(
            [
                (name, datatype, np.concatenate([member.fitted[index][2] for member in members]))
                for index, (name, datatype, _) in enumerate(members[0].fitted)
            ]
        )

    def deliver(self, answer: Array | Prediction) -> bool:
        """Hand each member its rows; False where the answer does not have one row for each."""
        members = self.members
        if len(members) == 1:
            members[0].succeed(answer)
            return True
        arrays = answer.values() if isinstance(answer, Prediction) else (answer,)
        for array in arrays:
            if array.shape[:1] != (self.rows,):
                return False
        shares = zip(members, self._shares(answer), strict=True)
        if self.wake is None:
            for member, share in shares:
                waiter = member.waiter
                if not waiter.done():
                    waiter.set_result(share)
        else:
            for member, share in shares:
                waiter = member.waiter
                if not waiter.done():
                    waiter.put_result(share)
            self.wake()
        return True

    def _shares(self, answer: Array | Prediction) -> Iterable[Array | Prediction]:
        """Yield each member's rows of an answer that has them all."""
        members = self.members
        if not isinstance(answer, Prediction) and self.rows == len(members):
            # Numpy cuts into rows by itself faster than one by one.
            shares: Array = answer[:, np.newaxis]
            return shares
        stops = list(accumulate(member.rows for member in members))
        edges = zip((0, *stops), stops, strict=False)
        if isinstance(answer, Prediction):
            return [Part(answer, start, stop) for start, stop in edges]
        return [answer[start:stop] for start, stop in edges]

    def fail(self, error: IsothermError) -> None:
        """Hand each member that still waits an error of its own."""
        for member in self.members:
            member.fail(for_another(error))

    def without(self, leaving: Sequence[Member]) -> Batch | None:
        """Return the request for the others; None where there is nobody else."""
        gone = set(map(id, leaving))
        staying = [member for member in self.members if id(member) not in gone]
        return Batch(self.group, staying) if staying else None

    def halves(self) -> tuple[Batch, Batch]:
        """Return two requests for one."""
        middle = len(self.members) // 2
        return Batch(self.group, self.members[:middle]), Batch(self.group, self.members[middle:])
