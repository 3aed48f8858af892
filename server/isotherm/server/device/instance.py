"""An instance of a model on a device: a session, its stream, and its buffers, while it is open."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from enum import IntEnum
from typing import Any, Final

import numpy as np

from isotherm.server.device.buffers import DeviceBuffers
from isotherm.server.device.device import Array, Device
from isotherm.server.device.turns import Share
from isotherm.server.errors import DeviceLostError
from isotherm.server.session import Session, reason

_log = logging.getLogger(__name__)

# Gives a session whose runs go to that stream (0: one of its own), with CUDA graphs or without.
OpenSession = Callable[[int, bool], Session]

# While a graph is captured, nobody may wait for the whole device, as loading and freeing do.
_ALONE: Final = threading.Lock()


class Way(IntEnum):
    """How batches run, the shortest way first; each is what there is when the one before fails."""

    GRAPHS = 0
    BOUND = 1
    PLAIN = 2

    def __str__(self) -> str:
        """Return what a model does without where the way is closed to it."""
        return ("CUDA graphs", "buffers on the device", "the device")[self]


class Instance:
    """Runs batches on one device; all of it happens on the thread that has opened it."""

    def __init__(
        self,
        device: Device,
        open_session: OpenSession,
        way: Way,
        max_rows: int,
        share: Share | None = None,
    ) -> None:
        """Open a session, and buffers for `max_rows` rows where the way needs them.

        Raises what the session or the device raises; then nothing is left open.
        """
        self.way = way
        self.buffers: DeviceBuffers | None = None
        self._device = device
        self._turn: Callable[[], AbstractContextManager[Any]]
        self._turn = share.turn if share is not None else nullcontext
        self._stream = 0
        # Whether anything ran since memory was last given back.
        self._used = False
        with _ALONE, ExitStack() as opened:
            if way is not Way.PLAIN:
                self._stream = device.open_stream()
                opened.callback(device.close_stream, self._stream)
            self.session = open_session(self._stream, way is Way.GRAPHS)
            # Before its stream.
            opened.callback(self.session.close)
            if way is not Way.PLAIN and max_rows and self.session.even:
                self.buffers = DeviceBuffers(device, self._stream, self.session, max_rows)
                opened.callback(self.buffers.close)
                device.wait(self._stream)
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Free all of it; nothing may be running."""
        self.buffers = None
        with _ALONE, self._opened:
            pass

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """Run the session in the ordinary way."""
        with self._running():
            return self.session.run(arrays)

    def run_bound(self, inputs: Sequence[Array], outputs: Sequence[Array], bucket: int = 0) -> None:
        """Run through the buffers, from host memory to host memory, which must be contiguous.

        In the CUDA graph of a `bucket`, or on exactly the rows that there are.
        """
        buffers = self.buffers
        assert buffers is not None  # noqa: S101  whoever has such arrays has them from it
        with self._running():
            buffers.send(inputs, bucket)
            if bucket:
                buffers.replay(bucket)
            else:
                buffers.run(len(inputs[0]))
            buffers.receive(outputs)

    def capture(self, inputs: Sequence[Array], outputs: Sequence[Array], bucket: int) -> None:
        """Do what `run_bound` does, where that may capture a graph."""
        with _ALONE:
            self.run_bound(inputs, outputs, bucket)

    def rehearse(self, rows: int, *, replay: bool) -> float:
        """Run on what lies in the buffers, and copy nothing; return the seconds it took.

        Without those in which it waited for its turn: another model may be busy.
        """
        buffers = self.buffers
        assert buffers is not None  # noqa: S101  as above
        with self._running():
            start_s = time.perf_counter()
            (buffers.replay if replay else buffers.run)(rows)
            self._device.wait(self._stream)
            return time.perf_counter() - start_s

    def rest(self) -> None:
        """Give back what the last runs needed on the device and the next may not need.

        Not where graphs are captured: they would replay on memory that is somebody else's.
        """
        if not self._used or self.session.captures or not self.session.even:
            return
        self._used = False
        rows = [row[np.newaxis] for row in self.session.rows()[0].values()]
        try:
            with self._turn():
                self.session.shrink(rows)
        except Exception as error:  # noqa: BLE001  the next batch will tell what is wrong
            _log.warning("memory of a device could not be given back: %s", reason(error))

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Wait for a turn; if what happens in it fails, leave nothing of it under way.

        Raises DeviceLostError when the device is lost, else RuntimeError with the reason alone:
        what ONNX Runtime says of CUDA's errors names files and the host.
        """
        self._used = True
        try:
            with self._turn():
                yield
        except DeviceLostError:
            raise
        except Exception as error:
            self._settle(error)
            msg = reason(error)
            if "memory" in msg:
                # Others may need what a batch that was too large has got so far.
                self.rest()
            raise RuntimeError(msg) from error

    def _settle(self, error: Exception) -> None:
        """Wait for what a run that failed has begun; raise DeviceLostError where that fails too.

        ONNX Runtime has no class for a lost device: the device must be asked.
        """
        try:
            if self._stream:
                self._device.end_capture(self._stream)
            self._device.wait(self._stream)
        except DeviceLostError as lost:
            raise lost from error
        except Exception as also:  # noqa: BLE001  the first error is the one to tell
            _log.debug("after a failed run: %s", also)
