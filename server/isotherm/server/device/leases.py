"""Page-locked host memory, lent to a batch until its answers are written.

A device copies from and to such memory without the processor's help, and beside its runs. It is
taken from the whole machine, and getting it takes long: so it is kept, and there is little of it.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

import numpy as np

from isotherm.server.device.device import Device, Octets

_log = logging.getLogger(__name__)

# A lane assembles one batch while others are answered. Beyond that, ordinary memory serves too.
MAX_PIECES: Final = 4
# A batch that needs more takes so long that how it is copied matters little.
MAX_PIECE_BYTES: Final = 128 << 20
_LEAST_BYTES: Final = 4096


class Lease:
    """Memory for one batch, until it is released."""

    def __init__(self, leases: Leases, memory: Octets, *, pinned: bool) -> None:
        self.memory = memory
        self._leases = leases
        self._pinned = pinned
        self._released = False

    def release(self) -> None:
        """Give the memory back; nobody may look at it afterwards. From any thread, once or more."""
        if not self._released:
            self._released = True
            self._leases.take_back(self.memory if self._pinned else None)


class Leases:
    """What one lane lends."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._free: list[Octets] = []
        self._pieces = 0
        self._largest_bytes = _LEAST_BYTES
        self._lent = 0
        self._refused = False

    @property
    def lent(self) -> int:
        """How many leases are out."""
        return self._lent

    def lend(self, size_bytes: int) -> Lease:
        """Return memory of at least so many bytes; called in a thread that has entered the device.

        It is page-locked while there are few leases, and not too large ones.
        """
        piece = self._piece(size_bytes) if size_bytes <= MAX_PIECE_BYTES else None
        with self._lock:
            self._lent += 1
        if piece is None:
            return Lease(self, np.empty(size_bytes, np.uint8), pinned=False)
        return Lease(self, piece, pinned=True)

    def take_back(self, piece: Octets | None) -> None:
        """End a lease; `piece` is its page-locked memory, if it has any."""
        with self._lock:
            self._lent -= 1
            if piece is not None:
                self._free.append(piece)

    def close(self) -> None:
        """Give back all memory that is not lent; what is lent stays until the process ends.

        Somebody may still read it, and that must not end the process.
        """
        with self._lock:
            pieces, self._free = self._free, []
        for piece in pieces:
            self._device.unpin(piece)

    def _piece(self, size_bytes: int) -> Octets | None:
        with self._lock:
            piece = self._free.pop() if self._free else None
            if piece is None and self._pieces >= MAX_PIECES:
                return None
        if piece is not None:
            if piece.nbytes >= size_bytes:
                return piece
            self._pieces -= 1
            self._device.unpin(piece)
        # As large as any that was needed, so that it need not grow later: the largest batch is
        # among the first, since it is tried at load.
        self._largest_bytes = max(self._largest_bytes, size_bytes)
        try:
            piece = self._device.pinned(self._largest_bytes)
        except (MemoryError, RuntimeError) as error:
            if not self._refused:
                self._refused = True
                _log.warning("no page-locked memory, copies take longer: %s", error)
            return None
        self._pieces += 1
        return piece
