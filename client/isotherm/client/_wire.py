"""Protobuf's wire format, as far as fields of bytes: they are most of what inference sends."""

from __future__ import annotations

from typing import Final

_BYTES: Final = 2
_SEVEN_BITS: Final = 0x7F


def bytes_head(field: int, length: int) -> bytes:
    """Return what stands before the bytes of a field: its number with its kind, and the length."""
    return varint(field << 3 | _BYTES) + varint(length)


def varint(number: int) -> bytes:
    """Return a number in groups of seven bits, the lowest first."""
    head = bytearray()
    while number > _SEVEN_BITS:
        head.append(number & _SEVEN_BITS | 0x80)
        number >>= 7
    return bytes([*head, number])
