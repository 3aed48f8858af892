"""The connections of a client: several to one target, since each stays with one server worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from isotherm.client._errors import InvalidInputError

Channel = TypeVar("Channel")

_MOST: Final = 64
# For how long a connection with calls may be silent before it is taken for dead when one of them is
# given up. A slow model is silent as well, so this is also how often connections change at most.
_SILENCE_S: Final = 0.5


class Connection(Generic[Channel]):
    """One channel with its stubs, and how many calls are on it."""

    __slots__ = ("busy", "channel", "heard_at_s", "silent_since_s", "stubs")

    def __init__(self, channel: Channel, stubs: Mapping[str, Any]) -> None:
        self.channel = channel
        self.stubs = stubs
        self.busy = 0
        self.heard_at_s = time.monotonic()
        # Since when there have been calls and nothing has been heard.
        self.silent_since_s: float | None = None


class Connections(Generic[Channel]):
    """Opens connections as they are needed, and hands out the least busy one.

    Safe to share between threads.
    """

    def __init__(self, most: int, connect: Callable[[], tuple[Channel, Mapping[str, Any]]]) -> None:
        if not 1 <= most <= _MOST:
            msg = f"connections is {most}, expected 1 to {_MOST}"
            raise InvalidInputError(msg)
        self._most = most
        self._connect = connect
        self._lock = threading.Lock()
        self._open: list[Connection[Channel]] = []
        # Given up, with calls that have not ended yet.
        self._retired: set[Connection[Channel]] = set()

    def take(self, other_than: Connection[Channel] | None = None) -> Connection[Channel]:
        """Return the connection for the next call, which `give_back` ends.

        It is `other_than` only where there is but one.
        """
        with self._lock:
            best = None
            for connection in self._open:
                if connection is not other_than and (best is None or connection.busy < best.busy):
                    best = connection
                    if not best.busy:
                        break
            if (best is None or best.busy) and len(self._open) < self._most:
                best = Connection(*self._connect())
                self._open.append(best)
            best = best or self._open[0]
            best.busy += 1
            if best.silent_since_s is None:
                best.silent_since_s = time.monotonic()
            return best

    def give_back(self, connection: Connection[Channel], *, heard: bool) -> Sequence[Channel]:
        """End a call; return the channels that nobody needs any more.

        `heard` says that something came, an answer or a refusal. Where a call is given up and
        nothing at all has come for a while, the connection may be dead without either end having
        been told: the next call gets another. So may those be that have been silent for as long.
        """
        with self._lock:
            connection.busy -= 1
            now_s = time.monotonic()
            if heard:
                connection.heard_at_s = now_s
                connection.silent_since_s = now_s if connection.busy else None
            elif (
                connection in self._open
                and connection.silent_since_s is not None
                and now_s - connection.silent_since_s > _SILENCE_S
            ):
                self._retire(connection.silent_since_s)
            if not self._retired:
                return ()
            unused = [each for each in self._retired if not each.busy]
            self._retired.difference_update(unused)
            return [each.channel for each in unused]

    def forget(self, connection: Connection[Channel]) -> None:
        """Have no more calls made on a connection, and never close it.

        A thread that is interrupted within gRPC may leave its locks taken: whoever touches the
        channel then waits for ever.
        """
        with self._lock:
            if connection in self._open:
                self._open.remove(connection)

    def channels(self) -> list[Channel]:
        """Return the channels that are open, to be closed."""
        with self._lock:
            return [connection.channel for connection in (*self._open, *self._retired)]

    def _retire(self, since_s: float) -> None:
        """Give up the connections that nothing has come from since then."""
        silent = [each for each in self._open if each.heard_at_s <= since_s]
        self._retired.update(silent)
        self._open = [each for each in self._open if each.heard_at_s > since_s]
