"""A device as a lane works on it: its memory, and streams of work in order."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Octets = NDArray[np.uint8]

# Where a tensor begins in memory that holds several: what devices ask for at most.
ALIGNMENT_BYTES = 256


class Device(Protocol):
    """Copies and waits; everything but `wait` may return before it has happened.

    Any method raises DeviceLostError when the device is gone, and MemoryError when it has no room.
    Addresses and streams are plain numbers, as ONNX Runtime takes them.
    """

    @property
    def number(self) -> int:
        """The device's number among those that this process sees."""
        ...

    @property
    def kind(self) -> str:
        """What IO binding calls its memory: "cuda"; "cpu" for the host's."""
        ...

    def enter(self) -> None:
        """Let the calling thread work on this device from now on."""

    def open_stream(self) -> int:
        """Return a new stream: what is asked for on it happens in that order."""
        ...

    def close_stream(self, stream: int) -> None:
        """Forget a stream, on which nothing is left to do."""

    def pinned(self, size_bytes: int) -> Octets:
        """Return host memory that the device reads and writes without help."""
        ...

    def unpin(self, memory: Octets) -> None:
        """Give back what `pinned` returned: that very array."""

    def allocate(self, size_bytes: int) -> int:
        """Return the address of memory on the device."""
        ...

    def free(self, address: int) -> None:
        """Give back what `allocate` returned."""

    def copy_in(self, address: int, array: Array, stream: int) -> None:
        """Copy a contiguous array to the device; it must stay as it is until `wait`."""

    def copy_out(self, array: Array, address: int, stream: int) -> None:
        """Fill a contiguous array from the device; it holds nothing before `wait`."""

    def zero(self, address: int, size_bytes: int, stream: int) -> None:
        """Set memory of the device to zeros."""

    def wait(self, stream: int) -> None:
        """Return when everything on the stream has happened."""

    def end_capture(self, stream: int) -> None:
        """Throw away the CUDA graph of which a failed run has left half on the stream, if any."""

    def memory(self) -> tuple[int, int]:
        """Return the bytes that are free, and those that there are."""
        ...
