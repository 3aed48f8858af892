"""A thread that does what it is told, in order: ONNX Runtime keeps CUDA graphs by thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class WorkThread:
    """Unlike a pool's, it keeps no process from ending, even inside a device that hangs."""

    def __init__(self, name: str) -> None:
        self._tasks: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]
        self._tasks = queue.SimpleQueue()
        self._ended = False
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def do(self, work: Callable[[], _Result]) -> Future[_Result]:
        """Do some work after what it was told before; the future has its result, or its error."""
        if self._ended:
            msg = "this is a bug: a lane that is closed has work to do"
            raise RuntimeError(msg)
        future: Future[_Result] = Future()
        self._tasks.put((future, work))
        return future

    def end(self) -> None:
        """End the thread after what it was told."""
        self._ended = True
        self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            future, work = task
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001  it is whose who waits for the result
                future.set_exception(error)
            # Nothing of a task lives on while the thread waits for the next.
            del task, future, work
