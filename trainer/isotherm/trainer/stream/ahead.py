"""Reading ahead: while one buffer is learned from, a thread fills the other."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self

from torch import Tensor


class Filler(Protocol):
    """Fills buffers one after the other."""

    def fill(self, buffer: Tensor) -> int | None:
        """Put the next rows into a buffer, and return how many; None: there are no more."""
        ...


class Ahead:
    """Yields filled buffers; each is valid until the next one is asked for."""

    def __init__(self, filler: Filler, buffers: list[Tensor]) -> None:
        self._filler = filler
        self._free: queue.SimpleQueue[Tensor | None] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[Tensor | BaseException | None] = queue.SimpleQueue()
        self._stopped = False
        for buffer in buffers:
            self._free.put(buffer)
        self._buffers = buffers
        self._thread = threading.Thread(target=self._run, name="read ahead", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped = True
        self._free.put(None)
        self._thread.join()

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the rows of each buffer.

        Raises:
            DataError: whatever the filler has raised.
        """
        while (filled := self._ready.get()) is not None:
            if isinstance(filled, BaseException):
                raise filled
            yield filled
            self._free.put(self._whole(filled))

    def _whole(self, filled: Tensor) -> Tensor:
        """Return the buffer that these rows are the beginning of."""
        return next(one for one in self._buffers if one.data_ptr() == filled.data_ptr())

    def _run(self) -> None:
        try:
            while (buffer := self._free.get()) is not None and not self._stopped:
                rows = self._filler.fill(buffer)
                self._ready.put(None if rows is None else buffer[:rows])
                if rows is None:
                    return
        # Whatever happens here is raised where the rows are waited for.
        except BaseException as error:  # noqa: BLE001
            self._ready.put(error)
