"""Either client behind one interface: what a test does with one, it does with the other."""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from isotherm.client import (
    AsyncClient,
    Client,
    DeadlineExceededError,
    IsothermError,
    TransientError,
)

MODEL = "doubling"
# More than a deadline that a call may take on a busy machine; what hangs takes forever.
TOLERANCE_S = 1.0
CALLERS = 64
# Of calls to a server that cannot be reached.
DEADLINE_S = 0.4
# What is promised: within a second after a fault, calls succeed.
RECOVERY_S = 1.0
VALUES = range(16)


@dataclass(frozen=True)
class End:
    """How a call of `doubling` with one row ended, and when."""

    value: float
    error: IsothermError | None
    took_s: float


class Driver(ABC):
    """A client whose calls are futures."""

    def __init__(self) -> None:
        self._calls: WeakKeyDictionary[Future[End], Future[Any]] = WeakKeyDictionary()

    @abstractmethod
    def call(self, method: str, *arguments: Any, **options: Any) -> Future[Any]:
        """Begin a call of one of the client's methods."""

    @abstractmethod
    def stream(self, batches: Iterable[Any], **options: Any) -> Future[list[Any]]:
        """Begin to infer for one batch after the other; the results, in order."""

    @abstractmethod
    def close_client(self) -> None:
        """Close the client; what is in flight is left to it."""

    @abstractmethod
    def close(self) -> None:
        """Close the client and end what drives it."""

    def predict(self, value: float, *, timeout: float, **options: Any) -> Future[End]:
        """Begin to double a number."""
        begin = time.monotonic()
        ended: Future[End] = Future()

        def end(future: Future[Any]) -> None:
            took_s = time.monotonic() - begin
            if future.cancelled():
                ended.cancel()
                return
            error = future.exception()
            if isinstance(error, IsothermError):
                ended.set_result(End(value, error, took_s))
            elif error is not None:
                ended.set_exception(error)
            else:
                answer = future.result()
                assert answer.shape == (1, 1)
                assert answer[0, 0] == 2 * value, f"{value} was answered with {answer[0, 0]}"
                ended.set_result(End(value, None, took_s))

        options |= {"outputs": "y", "timeout": timeout}
        call = self.call("predict", MODEL, [value], **options)
        self._calls[ended] = call
        call.add_done_callback(end)
        return ended

    def cancel(self, future: Future[End]) -> None:
        """Cancel a task that waits for an answer."""
        self._calls[future].cancel()

    def ask(self, values: Sequence[float], *, timeout: float, **options: Any) -> list[End]:
        """Double numbers at once, and see to it that no call outlives its deadline."""
        futures = [self.predict(value, timeout=timeout, **options) for value in values]
        wait(futures, timeout + 10 * TOLERANCE_S)
        hanging = sum(not future.done() for future in futures)
        assert not hanging, f"{hanging} of {len(futures)} calls hang"
        ends = [future.result() for future in futures]
        longest_s = max(end.took_s for end in ends)
        assert longest_s <= timeout + TOLERANCE_S, f"{longest_s:.2f} s for {timeout} s"
        return ends


class Threads(Driver):
    """The blocking client, and a thread for each call."""

    def __init__(self, target: str, **options: Any) -> None:
        super().__init__()
        self._client = Client(target, **options)
        self._pool = ThreadPoolExecutor(CALLERS)

    def call(self, method: str, *arguments: Any, **options: Any) -> Future[Any]:
        return self._pool.submit(getattr(self._client, method), *arguments, **options)

    def stream(self, batches: Iterable[Any], **options: Any) -> Future[list[Any]]:
        def streamed() -> list[Any]:
            return list(self._client.predict_stream(MODEL, batches, outputs="y", **options))

        return self._pool.submit(streamed)

    def close_client(self) -> None:
        self._client.close()

    def close(self) -> None:
        self._client.close()
        self._pool.shutdown()


class Tasks(Driver):
    """The asyncio client, on a loop that runs in a thread of its own."""

    def __init__(self, target: str, **options: Any) -> None:
        super().__init__()
        self._client = AsyncClient(target, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tasks")
        self._thread.start()

    def call(self, method: str, *arguments: Any, **options: Any) -> Future[Any]:
        async def called() -> Any:
            return await getattr(self._client, method)(*arguments, **options)

        return asyncio.run_coroutine_threadsafe(called(), self._loop)

    def stream(self, batches: Iterable[Any], **options: Any) -> Future[list[Any]]:
        async def streamed() -> list[Any]:
            results = self._client.predict_stream(MODEL, batches, outputs="y", **options)
            return [result async for result in results]

        return asyncio.run_coroutine_threadsafe(streamed(), self._loop)

    def close_client(self) -> None:
        asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result(10)

    def close(self) -> None:
        self.close_client()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def succeed(driver: Driver) -> None:
    """Ask a server that can be reached, or can be again."""
    errors = [end.error for end in driver.ask(VALUES, timeout=RECOVERY_S) if end.error]
    assert not errors, errors


def fail(driver: Driver) -> None:
    """Ask one that cannot be: every caller is told so, in time and in known words."""
    for end in driver.ask(VALUES, timeout=DEADLINE_S):
        assert isinstance(end.error, (DeadlineExceededError, TransientError)), end
