"""Either client behind one interface: what a test does with one, it does with the other."""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias, cast

from isotherm.client import AsyncClient, Client
from isotherm.client._coalescing import Group
from isotherm.client._conversation import Conversations

# Longer than anything takes that does not hang.
PATIENCE_S = 10.0
# The timeout of calls that must end for another reason.
LONG_S = 4 * PATIENCE_S
# The server's threads: no test may hold more inferences than that.
MOST_HELD = 8

Stream: TypeAlias = Generator[Any, None, None]


class Gate:
    """Holds whoever calls it until it is opened; with `limit`, only the first so many."""

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._open = threading.Event()
        self._following: Gate | None = None
        self._came = 0
        self._coming = threading.Condition()

    def __call__(self, *_: object) -> bool:
        """Wait, unless the gate is open; return whether that was so."""
        with self._coming:
            self._came += 1
            held = self._limit is None or self._came <= self._limit
            self._coming.notify_all()
            following = self._following if self._open.is_set() else None
        if following is not None:
            following()
        elif held:
            self._open.wait(LONG_S)
        return not held

    def wait_for(self, count: int) -> None:
        """Wait until so many have come."""
        with self._coming:
            assert self._coming.wait_for(lambda: self._came >= count, PATIENCE_S), self._came

    def then(self, following: Gate) -> None:
        """Have those who come when this one is open wait before another."""
        self._following = following

    def open(self) -> None:
        """Let those pass who are held, and those who come."""
        self._open.set()

    def open_all(self) -> None:
        """Open this one and the one that follows."""
        self._open.set()
        if self._following is not None:
            self._following.open_all()


class Driver(ABC):
    """A client whose calls are futures."""

    conversations: Conversations

    @abstractmethod
    def call(self, method: str, *arguments: Any, **options: Any) -> Future[Any]:
        """Begin a call of one of the client's methods."""

    @abstractmethod
    def stream(self, *arguments: Any, **options: Any) -> Stream:
        """Return what `predict_stream` yields, one by one; closing it closes the stream."""

    @abstractmethod
    def close(self) -> None:
        """Close the client; what is in flight is left to it."""

    @abstractmethod
    def end(self) -> None:
        """Close the client and end what drives it."""

    def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Make a call and return what it gave."""
        return self.call(method, *arguments, **options).result(PATIENCE_S)

    def predict(self, model: str, x: Any, **options: Any) -> Future[Any]:
        """Begin a prediction, and return once it waits for its turn or is on its way."""
        group, before = self.group(model, **options), 0
        if group is not None:
            before = self._entered(group)
        future = self.call("predict", model, x, **options)
        if group is not None:
            until_s = time.monotonic() + PATIENCE_S
            while not future.done() and self._entered(group) <= before:
                assert time.monotonic() < until_s
                time.sleep(0.0005)
        return future

    def group(
        self, model: str, version: object = "", outputs: Any = (), **_: object
    ) -> Group | None:
        """Return those who can share a request; None before the first of them has come."""
        served = self.conversations._served.get((model, str(version)))
        wanted = (outputs,) if isinstance(outputs, str) else tuple(outputs)
        return served.groups.get(wanted) if served is not None else None

    @staticmethod
    def _entered(group: Group) -> int:
        return len(group.pending) + sum(len(batch.members) for batch in list(group.running))


class Threads(Driver):
    """The blocking client, and a thread for each call."""

    def __init__(self, target: str, **options: Any) -> None:
        self.client = Client(target, **options)
        self.conversations = self.client._threads.conversations
        self._pool = ThreadPoolExecutor(64)

    def call(self, method: str, *arguments: Any, **options: Any) -> Future[Any]:
        return self._pool.submit(getattr(self.client, method), *arguments, **options)

    def stream(self, *arguments: Any, **options: Any) -> Stream:
        return cast("Stream", self.client.predict_stream(*arguments, **options))

    def close(self) -> None:
        self.client.close()

    def end(self) -> None:
        self.client.close()
        self._pool.shutdown()


class Tasks(Driver):
    """The asyncio client, on a loop that runs in a thread of its own."""

    def __init__(self, target: str, **options: Any) -> None:
        self.client = AsyncClient(target, **options)
        self.conversations = self.client._tasks.conversations
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="tasks")
        self._thread.start()

    def call(self, method: str, *arguments: Any, **options: Any) -> Future[Any]:
        async def called() -> Any:
            return await getattr(self.client, method)(*arguments, **options)

        return asyncio.run_coroutine_threadsafe(called(), self.loop)

    def stream(self, *arguments: Any, **options: Any) -> Stream:
        return self._one_by_one(self.client.predict_stream(*arguments, **options))

    def close(self) -> None:
        self.run(self.client.close())

    def end(self) -> None:
        self.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def _one_by_one(self, stream: Any) -> Stream:
        try:
            while got := self.run(_next_of(stream)):
                yield got[0]
        finally:
            self.run(stream.aclose())

    def run(self, coroutine: Any) -> Any:
        """Run something on the loop and return what it gave."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE_S)


async def _next_of(stream: Any) -> list[Any]:
    """Return the next one; nothing at the end."""
    try:
        return [await anext(stream)]
    except StopAsyncIteration:
        return []


KINDS: dict[str, type[Threads] | type[Tasks]] = {"threads": Threads, "tasks": Tasks}
