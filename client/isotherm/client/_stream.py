"""Streams of batches: which of them travel in one request, and in which order they are answered.

A request costs some hundred microseconds whatever it holds, as much as a model of this kind takes
for some thousand rows. So small batches that follow each other go together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Final

from isotherm.client._coalescing import Batch, Member
from isotherm.client._conversation import Conversations, Outputs
from isotherm.client._errors import InvalidInputError, IsothermError
from isotherm.client._inputs import Inputs
from isotherm.client._prediction import Prediction
from isotherm.client._questions import Version
from isotherm.client._steps import Conversation
from isotherm.v1.tensors import Array

# As many requests are on their way when as many batches have been read as may be.
REQUESTS: Final = 4
# Of one request: what it costs is nothing beside what it holds by then.
_MOST_ROWS: Final = 8192
_MOST_BYTES: Final = 1 << 20
# Of all that are on their way: half of what our server lets wait unless told otherwise, so that
# a stream does not have itself refused.
_MOST_ROWS_AHEAD: Final = 32_768


class Slot:
    """Where the outputs of one batch are kept until their turn comes."""

    __slots__ = ("_error", "_over", "_result", "rows")

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._over = False
        self._result: Any = None
        self._error: IsothermError | None = None

    def done(self) -> bool:
        """Tell whether it has been filled."""
        return self._over

    def set_result(self, result: Array | Prediction) -> None:
        """Keep the outputs."""
        self._result = result
        self._over = True

    def set_exception(self, error: IsothermError) -> None:
        """Keep the reason why there are none."""
        self._error = error
        self._over = True

    def outcome(self) -> Array | Prediction:
        """Return the outputs, or raise the error."""
        if self._error is not None:
            raise self._error
        result: Array | Prediction = self._result
        return result


class Parcel:
    """Batches that follow each other and travel in one request."""

    def __init__(self, conversation: Conversation[None], slots: Sequence[Slot]) -> None:
        """The conversation fills the slots; it raises nothing of its own."""
        self.conversation = conversation
        self.slots = slots


class Packing:
    """Makes parcels of a stream's batches."""

    def __init__(
        self,
        conversations: Conversations,
        model: str,
        version: Version,
        outputs: Outputs,
        timeout_s: float | None,
        in_flight: int,
    ) -> None:
        """Raise InvalidInputError where `in_flight` is no number of batches."""
        if in_flight < 1:
            msg = f"in_flight is {in_flight}, expected 1 or more batches"
            raise InvalidInputError(msg)
        self._conversations = conversations
        self._request = model, version, outputs
        self._timeout_s = timeout_s
        self._most_batches = -(-in_flight // REQUESTS)
        self._most_ahead = in_flight
        self._ahead = 0
        self._rows_ahead = 0
        self._gathered: list[Member] = []
        self._rows = 0
        self._bytes = 0

    def add(self, x: Inputs) -> Iterator[Parcel]:
        """Take a batch; yield the parcels that are complete."""
        model, version, outputs = self._request
        conversations = self._conversations
        deadline = conversations.begin(self._timeout_s)
        member = conversations.part_of_stream(model, x, version, outputs, deadline)
        if member is None:
            yield from self.rest()
            slot = Slot(len(x) if isinstance(x, Sized) else 0)
            self._count(slot.rows)
            conversation = conversations.predict(model, x, version, outputs, deadline)
            yield Parcel(_into(slot, conversation), (slot,))
            return
        size = sum(array.nbytes for _, _, array in member.fitted)
        if self._gathered and not self._fits(member, size):
            yield from self.rest()
        member.waiter = Slot(member.rows)
        self._count(member.rows)
        self._gathered.append(member)
        self._rows += member.rows
        self._bytes += size
        if len(self._gathered) >= self._most_batches:
            yield from self.rest()

    def is_full(self) -> bool:
        """Tell whether no more batches are to be read before one has been answered."""
        return self._ahead >= self._most_ahead

    def is_long(self) -> bool:
        """Tell whether what has been read is not to go out before one has been answered."""
        return self._rows_ahead >= _MOST_ROWS_AHEAD

    def take_out(self, parcel: Parcel) -> Sequence[Slot]:
        """Return the slots of a parcel that has been answered, which make room for others."""
        for slot in parcel.slots:
            self._ahead -= 1
            self._rows_ahead -= slot.rows
        return parcel.slots

    def rest(self) -> Iterator[Parcel]:
        """Yield what has been taken and is not on its way yet."""
        if self._gathered:
            members, self._gathered = self._gathered, []
            self._rows = self._bytes = 0
            batch = Batch(members[0].group, members)
            slots = tuple(member.waiter for member in members)
            yield Parcel(self._conversations.together(batch), slots)

    def _count(self, rows: int) -> None:
        self._ahead += 1
        self._rows_ahead += rows

    def _fits(self, member: Member, size: int) -> bool:
        group = self._gathered[0].group
        return (
            member.group is group
            and self._rows + member.rows <= min(_MOST_ROWS, group.served.streamed_rows)
            and self._bytes + size <= _MOST_BYTES
        )


def until_broken(batches: Iterable[Inputs], broken: list[Exception]) -> Iterator[Inputs]:
    """Yield batches until there are no more; put into `broken` what their source raises."""
    try:
        yield from batches
    except Exception as error:  # noqa: BLE001  raised when its turn has come
        broken.append(error)


def _into(slot: Slot, conversation: Conversation[Array | Prediction]) -> Conversation[None]:
    try:
        slot.set_result((yield from conversation))
    except IsothermError as error:
        slot.set_exception(error)
