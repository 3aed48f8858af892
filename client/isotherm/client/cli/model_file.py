"""The metadata of an ONNX file, read without ONNX.

An ONNX file is a protobuf message, ModelProto. Only its outermost fields are walked: the graph,
with all the weights, is skipped over and never in memory.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from isotherm.client.cli.failure import Failure
from isotherm.v1.contract import MAX_CONTRACT_BYTES

# Field numbers of onnx.ModelProto and onnx.StringStringEntryProto.
_IR_VERSION: Final = 1
_GRAPH: Final = 7
_METADATA_PROPS: Final = 14
_KEY: Final = 1
_VALUE: Final = 2

# Protobuf's wire types; 3 and 4, groups, do not occur in ONNX.
_VARINT: Final = 0
_FIXED64: Final = 1
_LENGTH_DELIMITED: Final = 2
_FIXED32: Final = 5
_FIXED_SIZES: Final = {_FIXED64: 8, _FIXED32: 4}

_MAX_VARINT_BYTES: Final = 10
# Room for the key and the lengths beside the longest contract.
_MAX_ENTRY_BYTES: Final = MAX_CONTRACT_BYTES + 4096


def metadata(path: Path) -> dict[str, str]:
    """Return the file's `metadata_props`; raise Failure when it is no complete ONNX file."""
    with path.open("rb") as file:
        try:
            return _metadata(_Fields(file))
        except (_BrokenError, UnicodeDecodeError) as error:
            msg = f"{path} is not a complete ONNX file: {error}"
            raise Failure(msg) from error


class _BrokenError(Exception):
    """The bytes are no protobuf message of the expected kind."""


class _Fields:
    """The fields of one message: iterate, and take or skip the content of each."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        file.seek(0)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        while self._file.tell() < self._size:
            tag = self._varint()
            if not tag >> 3:
                msg = "it has a field with number 0"
                raise _BrokenError(msg)
            yield tag >> 3, tag & 7

    def take(self) -> bytes:
        """Return the content of the length-delimited field that was yielded last."""
        size = self._varint()
        if size > _MAX_ENTRY_BYTES:
            msg = f"it has a metadata entry of {size} bytes, at most {_MAX_ENTRY_BYTES} are read"
            raise _BrokenError(msg)
        return self._read(size)

    def skip(self, wire_type: int) -> None:
        """Pass over the content of the field that was yielded last."""
        if wire_type == _VARINT:
            self._varint()
        elif wire_type == _LENGTH_DELIMITED:
            self._advance(self._varint())
        elif wire_type in _FIXED_SIZES:
            self._advance(_FIXED_SIZES[wire_type])
        else:
            msg = f"it has a field of wire type {wire_type}"
            raise _BrokenError(msg)

    def _varint(self) -> int:
        result = 0
        for index in range(_MAX_VARINT_BYTES):
            byte = self._read(1)[0]
            result |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:  # noqa: PLR2004  the high bit says that more follow
                return result
        msg = f"it has a number of more than {_MAX_VARINT_BYTES} bytes"
        raise _BrokenError(msg)

    def _advance(self, size: int) -> None:
        # Seeking beyond the end would succeed, and hide that the file was cut.
        if size > self._size - self._file.tell():
            raise self._cut()
        self._file.seek(size, os.SEEK_CUR)

    def _read(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise self._cut()
        return data

    def _cut(self) -> _BrokenError:
        return _BrokenError(f"it ends early, after {self._size} bytes")


def _metadata(fields: _Fields) -> dict[str, str]:
    found: dict[str, str] = {}
    seen: set[int] = set()
    for number, wire_type in fields:
        seen.add(number)
        if (number, wire_type) == (_METADATA_PROPS, _LENGTH_DELIMITED):
            key, value = _entry(_Fields(io.BytesIO(fields.take())))
            found[key] = value
        else:
            fields.skip(wire_type)
    if not seen >= {_IR_VERSION, _GRAPH}:
        msg = "it has no graph"
        raise _BrokenError(msg)
    return found


def _entry(fields: _Fields) -> tuple[str, str]:
    texts = {_KEY: "", _VALUE: ""}
    for number, wire_type in fields:
        if number in texts and wire_type == _LENGTH_DELIMITED:
            texts[number] = fields.take().decode()
        else:
            fields.skip(wire_type)
    return texts[_KEY], texts[_VALUE]
