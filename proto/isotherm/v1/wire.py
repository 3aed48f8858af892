"""The protobuf wire format, as far as answers are put together by hand."""

from __future__ import annotations


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
