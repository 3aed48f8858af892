"""A lane: a thread with an instance of a model on a device.

While one lane's batch runs, another lane's is copied: two lanes keep a device busy.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

import numpy as np

from isotherm.server.device.buckets import Choice
from isotherm.server.device.buffers import DeviceBuffers
from isotherm.server.device.device import Array, Device
from isotherm.server.device.instance import Instance, OpenSession, Way
from isotherm.server.device.leases import Lease, Leases
from isotherm.server.device.proof import prove
from isotherm.server.device.turns import Share
from isotherm.server.device.work import WorkThread
from isotherm.server.errors import DeviceLostError, LoadError
from isotherm.server.session import Session, reason

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


class Lane:
    """One instance of a model on a device; all it does happens on its own thread."""

    def __init__(
        self,
        device: Device,
        open_session: OpenSession,
        *,
        max_rows: int,
        graphs: bool,
        share: Share | None = None,
        label: str = "a model",
    ) -> None:
        """Open a session; larger batches than `max_rows` are cut, at 0 none is cut or filled up.

        `graphs` says whether CUDA graphs are wanted, `share` is the model's part of the device, and
        `label` what the log calls it.
        Raises LoadError when no session can be opened.
        """
        self._device = device
        self._open_session = open_session
        self._max_rows = max_rows
        self._share = share
        self._label = label
        self._notes: list[str] = []
        self._leases = Leases(device)
        # Of the batches that are filled up; until they are proved, none is.
        self._choice = Choice({}, {})
        self._instance: Instance | None = None
        self._closed: Future[None] | None = None
        self._thread = WorkThread(f"lane-{device.number}")
        try:
            self._load(lambda: self._start(Way.GRAPHS if graphs else Way.BOUND))
        except BaseException:
            self.close()
            raise

    @property
    def session(self) -> Session:
        """The session, which may be another one after `warm_up`; its signature stays readable."""
        return self._session

    @property
    def notes(self) -> tuple[str, ...]:
        """What was given up since it did not work here, each with its reason."""
        return tuple(self._notes)

    @property
    def graph_rows(self) -> tuple[int, ...]:
        """The sizes of batches that replay a CUDA graph."""
        return self._choice.used

    @property
    def memory_bytes(self) -> int:
        """Memory on the device that the lane has beside its session."""
        buffers = self._instance.buffers if self._instance is not None else None
        return buffers.size_bytes if buffers is not None else 0

    @property
    def lent(self) -> int:
        """Batches whose buffers are not given back yet."""
        return self._leases.lent

    @property
    def waited_s(self) -> float:
        """Seconds that runs of the model, on this lane and others, have waited for their turn."""
        return self._share.waited_s if self._share is not None else 0.0

    def warm_up(self) -> None:
        """Try every way to run, on every size of batch, and keep the first that answers rightly.

        Raises LoadError when the device is lost.
        """
        self._load(self._warm_up)

    def do(self, work: Callable[[], _Result]) -> Future[_Result]:
        """Do something on the lane's thread, after what it does now."""
        return self._thread.do(work)

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """Run the model as it serves, for any other thread, on one array an input."""
        return self.do(lambda: self.run_here(arrays)).result()

    def close(self) -> Future[None]:
        """Free all that the lane has, on its thread, and end that; safe to repeat.

        Nothing may run, or be told to run, any more.
        """
        if self._closed is None:
            self._closed = self._thread.do(self._close)
            self._thread.end()
        return self._closed

    # What follows happens on the lane's thread.

    def run_here(self, arrays: Sequence[Array]) -> list[Array]:
        """Run the model, however many rows there are."""
        limit = self._max_rows if self.session.batched else 0
        if not limit or len(arrays[0]) <= limit:
            return self._run_at_once(arrays)
        parts = [
            self._run_at_once([array[start : start + limit] for array in arrays])
            for start in range(0, len(arrays[0]), limit)
        ]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    def bound(self, rows: int) -> LentRun | None:
        """Return buffers for so many rows; None where `run_here` must be used."""
        instance = self._open
        buffers = instance.buffers
        if buffers is None or not 0 < rows <= self._max_rows:
            return None
        lease = self._leases.lend(buffers.lent_bytes(rows))
        return LentRun(instance, buffers, lease, rows, self._choice.bucket(rows))

    def rest(self) -> None:
        """Give back memory that the next runs may not need."""
        self._open.rest()

    @property
    def _open(self) -> Instance:
        assert self._instance is not None, "this is a bug: a closed lane is used"  # noqa: S101
        return self._instance

    def _run_at_once(self, arrays: Sequence[Array]) -> list[Array]:
        bound = self.bound(len(arrays[0])) if self._open.buffers is not None else None
        if bound is None:
            return self._open.run(arrays)
        try:
            for buffer, array in zip(bound.inputs, arrays, strict=True):
                buffer[...] = array
            bound.run()
            return [output.copy() for output in bound.outputs]
        finally:
            bound.release()

    def _load(self, work: Callable[[], None]) -> None:
        try:
            self.do(work).result()
        except (DeviceLostError, MemoryError, RuntimeError) as error:
            raise LoadError(str(error)) from error

    def _start(self, way: Way) -> None:
        self._device.enter()
        self._open_by(way)
        self._warn(self._notes)
        if self._open.buffers is None and self._open.way is not Way.PLAIN:
            # None of this is for it, though nothing is wrong.
            self._free()
            rows = self._max_rows and self._session.batched
            why = "its rows have no fixed size" if rows else "its requests run alone"
            self._notes.append(f"no buffers on the device: {why}")
            self._open_by(Way.PLAIN)

    def _open_by(self, way: Way) -> None:
        """Open an instance by a way, or by the first after it that works."""
        while True:
            try:
                self._instance = Instance(
                    self._device, self._open_session, way, self._max_rows, self._share
                )
            except Exception as error:
                if way is Way.PLAIN or isinstance(error, DeviceLostError):
                    raise
                way = self._step_back(way, error)
            else:
                self._session = self._instance.session
                return

    def _step_back(self, way: Way, error: Exception) -> Way:
        self._notes.append(f"no {way}: {reason(error)}")
        return Way(way + 1)

    def _warn(self, notes: Sequence[str]) -> None:
        if notes:
            _log.warning("%s on device %d: %s", self._label, self._device.number, "; ".join(notes))

    def _warm_up(self) -> None:
        noted = len(self._notes)
        while self._open.buffers is not None:
            way = self._open.way
            try:
                self._choice = prove(self._open, self._leases, self._max_rows)
            except DeviceLostError:
                raise
            except Exception as error:  # noqa: BLE001  whatever it is, there is a plainer way
                way = self._step_back(way, error)
            else:
                if way is not Way.GRAPHS or self._choice.used:
                    break
                # They save nothing, and forbid that memory is given back.
                way = Way.BOUND
            self._free()
            self._open_by(way)
        self._warn(self._notes[noted:])

    def _free(self) -> None:
        instance, self._instance = self._instance, None
        self._choice = Choice({}, {})
        try:
            if instance is not None:
                instance.close()
        except Exception as error:  # noqa: BLE001  a device that is lost has taken everything along
            _log.warning("on device %d, not all could be freed: %s", self._device.number, error)

    def _close(self) -> None:
        self._free()
        try:
            self._leases.close()
        except Exception as error:  # noqa: BLE001  as above
            _log.warning("on device %d, not all could be freed: %s", self._device.number, error)


class LentRun:
    """Page-locked buffers for one batch, and the way through the device; see `execution`."""

    __slots__ = ("_bucket", "_instance", "_lease", "inputs", "outputs")

    def __init__(
        self, instance: Instance, buffers: DeviceBuffers, lease: Lease, rows: int, bucket: int
    ) -> None:
        self.inputs, self.outputs = buffers.views(lease.memory, rows)
        self._instance = instance
        self._lease = lease
        self._bucket = bucket

    def run(self) -> None:
        """Run the model on what is in `inputs`; the answer is in `outputs` until `release`."""
        self._instance.run_bound(self.inputs, self.outputs, self._bucket)

    def release(self) -> None:
        """Give the buffers back; from any thread, once or more."""
        self._lease.release()
