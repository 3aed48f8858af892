"""Rows on their way out of a worker: a ring in shared memory with one writer and one reader.

A record is one header word, then its payload, and never wraps: where it would, the rest of the ring
is skipped. It exists once the count of written words is raised behind it, so a writer that dies in
the middle leaves nothing; its successor writes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from isotherm.server import memory

# Words of 8 bytes: 4 MiB, some 16 000 rows of 64 columns between two looks of the reader.
CAPACITY: Final = 1 << 19
# Records of no more rows, so that none takes more than a quarter of the ring.
MAX_ROWS: Final = 4096
# Models that one worker may have in its ring at once.
MAX_NUMBERS: Final = 512

# How many words were ever written, and read; each model's rows so far, and its stride.
_WRITTEN: Final = 0
_READ: Final = 1
_SEEN: Final = 8
_STRIDE: Final = _SEEN + MAX_NUMBERS
_DATA: Final = _STRIDE + MAX_NUMBERS

# A header: rows or bytes (24 bits), words of the record (24), the model's number (12), kind (2).
_SIZE_SHIFT: Final = 24
_NUMBER_SHIFT: Final = 48
_KIND_SHIFT: Final = 60
_LENGTH_MASK: Final = (1 << 24) - 1
_NUMBER_MASK: Final = (1 << 12) - 1
_REFUSED: Final = 0
_ROWS: Final = 1
_TEXT: Final = 2
_SKIP: Final = 3


class Ring:
    """The memory of one worker's ring, as an inheritable file descriptor and words mapped on it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.words: NDArray[np.int64] = memory.words(fd, _DATA + CAPACITY)
        self.floats: NDArray[np.float32] = self.words[_DATA:].view(np.float32)

    @classmethod
    def create(cls) -> Ring:
        """Make an empty ring."""
        return cls(memory.create("isotherm-drift"))


class Writer:
    """The worker's end; for one thread."""

    def __init__(self, ring: Ring) -> None:
        self._bytes = memoryview(ring.words.data).cast("B")
        # An item of a memoryview costs a third of an array's.
        self._words = self._bytes.cast("q")

    def open(self, number: int) -> None:
        """Begin with a model: no row seen yet, every row wanted."""
        self._words[_SEEN + number] = 0
        self._words[_STRIDE + number] = 1

    def counts(self, number: int) -> tuple[memoryview, int, int]:
        """Return a model's words, and where in them its rows so far and its stride are.

        The rows are raised by those that pass by; of `stride` rows one is wanted.
        """
        return self._words, _SEEN + number, _STRIDE + number

    def text(self, number: int, text: bytes) -> bool:
        """Write text about a model; False where there is no room now."""
        size = 1 + (len(text) + 7) // 8
        at = self._room(size)
        if at < 0:
            return False
        begin = 8 * (_DATA + at + 1)
        self._bytes[begin : begin + len(text)] = text
        self._publish(at, size, len(text), number, _TEXT)
        return True

    def rows(
        self,
        number: int,
        features: NDArray[Any],
        predictions: NDArray[Any],
        *,
        refused: bool = False,
    ) -> bool:
        """Write rows of a model, FP32 of shapes (rows, features) and (rows, predictions).

        There are 1 to MAX_ROWS of them. The model has run them, unless they were `refused`; those
        have no predictions. False where there is no room now: they are not missed.
        """
        # For a few numbers a third of what assigning arrays costs, wherever these lie.
        data = features.tobytes() + predictions.tobytes()
        length = len(data)
        size = 1 + ((length + 7) >> 3)
        words = self._words
        written = words[_WRITTEN]
        at = written & (CAPACITY - 1)
        # Spelled out, since this happens with every batch.
        if at + size > CAPACITY or written + size > words[_READ] + CAPACITY:
            at = self._room(size)
            if at < 0:
                return False
        begin = 8 * (_DATA + at + 1)
        self._bytes[begin : begin + length] = data
        kind = _REFUSED if refused else _ROWS
        words[_DATA + at] = (
            len(features) | size << _SIZE_SHIFT | number << _NUMBER_SHIFT | kind << _KIND_SHIFT
        )
        words[_WRITTEN] += size
        return True

    def _room(self, size: int) -> int:
        """Return where a record of so many words may begin; -1 where there is no room now."""
        words = self._words
        written = words[_WRITTEN]
        free = CAPACITY - written + words[_READ]
        at = written & (CAPACITY - 1)
        rest = CAPACITY - at
        if size <= rest:
            return at if size <= free else -1
        if size + rest > free:
            return -1
        self._publish(at, rest, 0, 0, _SKIP)
        return 0

    def _publish(self, at: int, size: int, length: int, number: int, kind: int) -> None:
        words = self._words
        words[_DATA + at] = (
            length | size << _SIZE_SHIFT | number << _NUMBER_SHIFT | kind << _KIND_SHIFT
        )
        words[_WRITTEN] += size


@dataclass(frozen=True, slots=True)
class Text:
    """What a worker says of a model, by its number in that worker."""

    number: int
    text: bytes


@dataclass(frozen=True, slots=True)
class Records:
    """Records of equal size, model and fate.

    Each has so many `rows`; `payload` has a row a record, and padding at its end.
    """

    number: int
    rows: int
    refused: bool
    payload: NDArray[np.float32]

    def table(self, features: int, predictions: int) -> NDArray[np.float32]:
        """Return a copy of all rows, of shape (rows, features + predictions).

        Raises ValueError where a record is too short for that.
        """
        middle = self.rows * features
        end = middle + self.rows * predictions
        if self.payload.shape[1] < end:
            msg = f"records of {self.payload.shape[1]} numbers cannot hold {self.rows} rows"
            raise ValueError(msg)
        rows = len(self.payload) * self.rows
        return np.hstack(
            (
                self.payload[:, :middle].reshape(rows, features),
                self.payload[:, middle:end].reshape(rows, predictions),
            )
        )


class Reader:
    """The supervisor's end; for one thread at a time."""

    def __init__(self, ring: Ring) -> None:
        self._words = ring.words
        self._data = ring.words[_DATA:]
        self._floats = ring.floats
        self._until = 0

    def look(self) -> bool:
        """Note up to where the ring is written; tell whether there is something to read.

        What was written before need not be visible yet, on processors that do not keep the order
        of writes: `read` must be called a moment later.
        """
        self._until = int(self._words[_WRITTEN])
        return self._until > int(self._words[_READ])

    def read(self) -> Iterator[Text | Records]:
        """Yield what was written up to the last look; views, valid until the next one is taken.

        Raises ValueError where what is there is no record; all up to the last look is then given
        up.
        """
        position = int(self._words[_READ])
        try:
            while position < self._until:
                at = position & (CAPACITY - 1)
                header = int(self._data[at])
                size = header >> _SIZE_SHIFT & _LENGTH_MASK
                length = header & _LENGTH_MASK
                number = header >> _NUMBER_SHIFT & _NUMBER_MASK
                room = min(self._until - position, CAPACITY - at)
                if not 1 <= size <= room:
                    msg = f"the ring has a record of {size} words where {room} are left"
                    raise ValueError(msg)
                count = 1
                kind = header >> _KIND_SHIFT
                if kind in {_ROWS, _REFUSED}:
                    count = self._alike(at, size, room // size)
                    floats = self._floats[2 * at : 2 * (at + count * size)]
                    payload = floats.reshape(count, 2 * size)[:, 2:]
                    yield Records(number, length, kind == _REFUSED, payload)
                elif kind == _TEXT:
                    words = self._data[at + 1 : at + size]
                    yield Text(number, words.tobytes()[:length])
                position += count * size
        finally:
            # Whatever the caller made of it: the writer needs the room.
            self._words[_READ] = self._until

    def _alike(self, at: int, size: int, most: int) -> int:
        """Return how many records from `at` on have the same header, at most so many."""
        headers = self._data[at : at + most * size : size]
        others = np.flatnonzero(headers != headers[0])
        return int(others[0]) if len(others) else most

    def seen(self, number: int) -> int:
        """Return how many rows of a model have passed its worker since the model was opened."""
        return int(self._words[_SEEN + number])

    def want(self, number: int, stride: int) -> None:
        """Ask for one of so many rows of a model."""
        self._words[_STRIDE + number] = stride
