"""The protobuf wire format, as far as answers are put together and requests taken apart by hand."""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType
from typing import Final, NamedTuple

_VARINT: Final = 0
_DELIMITED: Final = 2
_FIXED: Final = MappingProxyType({1: 8, 5: 4})
_MAX_VARINT: Final = 10


class Field(NamedTuple):
    """A field's number, its wire type, and where in the message its content starts and ends."""

    number: int
    kind: int
    start: int
    end: int

    @property
    def delimited(self) -> bool:
        """Whether it is text, bytes or a message."""
        return self.kind == _DELIMITED


def delimited(tag: bytes, data: bytes) -> bytes:
    """Return a length-delimited field: its tag, the length, the bytes."""
    return tag + varint(len(data)) + data


def varint(number: int) -> bytes:
    """Return a number in seven bits a byte, the lowest first; the eighth says that more follow."""
    encoded = bytearray()
    while number > 0x7F:  # noqa: PLR2004
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def fields(message: bytes) -> Iterator[Field]:
    """Yield the fields of a message in their order; raise ValueError where it is none.

    Groups, which no message of ours has but protobuf skips, are refused too.
    """
    at, size = 0, len(message)
    while at < size:
        tag, start = _read_varint(message, at)
        kind = tag & 7
        if kind == _DELIMITED:
            length, start = _read_varint(message, start)
            at = start + length
        elif kind == _VARINT:
            _, at = _read_varint(message, start)
        elif kind in _FIXED:
            at = start + _FIXED[kind]
        else:
            msg = f"wire type {kind} at byte {start} is not read"
            raise ValueError(msg)
        if at > size:
            msg = f"a field ends at byte {at} of {size}"
            raise ValueError(msg)
        yield Field(tag >> 3, kind, start, at)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    for index in range(at, min(at + _MAX_VARINT, len(message))):
        byte = message[index]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004
            return number, index + 1
        shift += 7
    msg = f"a number that begins at byte {at} does not end"
    raise ValueError(msg)
