"""An iterator that runs in a thread of its own, so that no signal reaches what it does.

Ctrl-C raises an error between any two steps of the main thread. In the middle of a call that leaves
gRPC's books wrong, and closing its channel then waits for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from queue import SimpleQueue
from typing import Final, Generic, Self, TypeVar

_Item = TypeVar("_Item")

# How far the thread may run ahead: one item is written while the next one comes.
_AHEAD: Final = 1
# Whoever reads from a terminal may wait there for ever.
_JOIN_S: Final = 1.0


class Ahead(Generic[_Item]):
    """Hands on what an iterator yields, and the error that it ends with.

    Args:
        items: The iterator, which is used in the other thread alone.
        release: Ends what the iterator may be waiting for.
    """

    def __init__(self, items: Generator[_Item, None, None], release: Callable[[], object]) -> None:
        self._items = items
        self._release = release
        self._ready: SimpleQueue[tuple[_Item] | BaseException] = SimpleQueue()
        self._room = threading.Semaphore(_AHEAD)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> _Item:
        ready = self._ready.get()
        if isinstance(ready, BaseException):
            raise ready
        self._room.release()
        return ready[0]

    def close(self) -> None:
        """End the thread, wherever it is."""
        if self._thread.is_alive():
            self._stopped = True
            self._room.release()
            self._release()
            self._thread.join(_JOIN_S)

    def _run(self) -> None:
        try:
            for item in self._items:
                self._room.acquire()
                if self._stopped:
                    return
                self._ready.put((item,))
        except BaseException as error:  # noqa: BLE001  it is raised where the items are taken
            self._ready.put(error)
        else:
            self._ready.put(StopIteration())
        finally:
            self._items.close()
