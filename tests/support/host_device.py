"""A device in the host's memory, for ONNX Runtime's CPU provider: strict where CUDA is silent.

What CUDA would let pass and answer wrongly is an error here: an answer that is read before `wait`
is poison; memory that changes while it is copied, or is freed twice, raises.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from isotherm.server.device.device import Array, Octets
from isotherm.server.errors import DeviceLostError

# What an array holds whose contents have not arrived, octet by octet: for floats, no number.
POISON = 0xFF


@dataclass(eq=False)
class _Stream:
    """Copies that `wait` makes real, and what was on its way in meanwhile."""

    out: list[tuple[Array, int]] = field(default_factory=list)
    sent: list[tuple[Array, bytes]] = field(default_factory=list)


class HostDevice:
    """See `Device`. What happened to it can be looked at, and made to go wrong."""

    kind = "cpu"

    def __init__(self, number: int = 0, *, memory_bytes: int = 1 << 30) -> None:
        self.number = number
        self.memory_bytes = memory_bytes
        # Names of methods that raise, once for each time that they are in here.
        self.failing: list[str] = []
        self.lost = False
        self.copied_in_bytes = 0
        self.copied_out_bytes = 0
        self.zeroed_bytes = 0
        self.pinned_calls = 0
        self.ended_captures = 0
        self._lock = threading.RLock()
        self._entered: set[int] = set()
        self._streams: dict[int, _Stream] = {}
        self._next_stream = 1
        self._memory: dict[int, Octets] = {}
        self._pinned: dict[int, Octets] = {}

    @property
    def leaks(self) -> list[str]:
        """What was taken and not given back."""
        return [
            *(f"stream {stream}" for stream in self._streams),
            *(f"{len(memory)} octets on the device" for memory in self._memory.values()),
            *(f"{len(memory)} octets pinned" for memory in self._pinned.values()),
        ]

    def enter(self) -> None:
        with self._use("enter", entered=False):
            self._entered.add(threading.get_ident())

    def open_stream(self) -> int:
        with self._use("open_stream"):
            stream = self._next_stream
            self._next_stream += 1
            self._streams[stream] = _Stream()
            return stream

    def close_stream(self, stream: int) -> None:
        with self._use("close_stream"):
            closed = self._streams.pop(stream)
            assert not closed.out
            assert not closed.sent

    def pinned(self, size_bytes: int) -> Octets:
        with self._use("pinned"):
            self.pinned_calls += 1
            memory = np.full(size_bytes, POISON, np.uint8)
            self._pinned[memory.ctypes.data] = memory
            return memory

    def unpin(self, memory: Octets) -> None:
        with self._use("unpin"):
            found = self._pinned.pop(memory.ctypes.data)
            assert found is memory
            # Whoever still reads it does so in vain.
            memory.fill(POISON)

    def allocate(self, size_bytes: int) -> int:
        with self._use("allocate"):
            if self.memory()[0] < size_bytes:
                msg = f"out of memory: {size_bytes} bytes are not free"
                raise MemoryError(msg)
            memory = np.full(size_bytes, POISON, np.uint8)
            address: int = memory.ctypes.data
            self._memory[address] = memory
            return address

    def free(self, address: int) -> None:
        with self._use("free"):
            self._memory.pop(address).fill(POISON)

    def copy_in(self, address: int, array: Array, stream: int) -> None:
        with self._use("copy_in"):
            assert array.flags.c_contiguous
            self._streams[stream].sent.append((array, array.tobytes()))
            self._at(address, array.nbytes)[...] = np.frombuffer(array.tobytes(), np.uint8)
            self.copied_in_bytes += array.nbytes

    def copy_out(self, array: Array, address: int, stream: int) -> None:
        with self._use("copy_out"):
            assert array.flags.c_contiguous
            self._at(address, array.nbytes)
            _octets(array).fill(POISON)
            self._streams[stream].out.append((array, address))
            self.copied_out_bytes += array.nbytes

    def zero(self, address: int, size_bytes: int, stream: int) -> None:
        with self._use("zero"):
            assert stream in self._streams
            self._at(address, size_bytes).fill(0)
            self.zeroed_bytes += size_bytes

    def wait(self, stream: int) -> None:
        with self._use("wait"):
            if not stream:
                return
            waiting = self._streams[stream]
            sent, waiting.sent = waiting.sent, []
            out, waiting.out = waiting.out, []
            for array, octets in sent:
                assert array.tobytes() == octets, "it changed while it was copied"
            for array, address in out:
                _octets(array)[...] = self._at(address, array.nbytes)

    def end_capture(self, stream: int) -> None:
        with self._use("end_capture"):
            assert stream in self._streams
            self.ended_captures += 1

    def memory(self) -> tuple[int, int]:
        with self._lock:
            used = sum(len(memory) for memory in self._memory.values())
            return self.memory_bytes - used, self.memory_bytes

    @contextmanager
    def _use(self, name: str, *, entered: bool = True) -> Iterator[None]:
        with self._lock:
            if entered:
                assert threading.get_ident() in self._entered, "the thread did not enter"
            if self.lost:
                msg = "an illegal memory access was encountered"
                raise DeviceLostError(msg)
            if name in self.failing:
                self.failing.remove(name)
                msg = f"{name}: out of memory"
                raise MemoryError(msg)
            yield

    def _at(self, address: int, size_bytes: int) -> Octets:
        for start, memory in self._memory.items():
            if start <= address and address + size_bytes <= start + len(memory):
                return memory[address - start : address - start + size_bytes]
        msg = f"{size_bytes} octets at {address} are not the device's"
        raise AssertionError(msg)


def _octets(array: Array) -> Octets:
    return array.reshape(-1).view(np.uint8)
