"""The tensor codec: protocol messages to numpy arrays and back, for server and client alike.

Raw tensors are decoded without a copy: the array is a read-only view on the message's bytes. The
wire format is little-endian and row-major; a BYTES element is preceded by its length as a
little-endian 32-bit number.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# BF16 has no numpy type: its arrays are float32 whose lower half is zero. BYTES are object arrays.
DTYPES: Final[Mapping[str, np.dtype[Any]]] = MappingProxyType(
    {
        "BOOL": np.dtype(np.bool_),
        "UINT8": np.dtype("u1"),
        "UINT16": np.dtype("<u2"),
        "UINT32": np.dtype("<u4"),
        "UINT64": np.dtype("<u8"),
        "INT8": np.dtype("i1"),
        "INT16": np.dtype("<i2"),
        "INT32": np.dtype("<i4"),
        "INT64": np.dtype("<i8"),
        "FP16": np.dtype("<f2"),
        "FP32": np.dtype("<f4"),
        "FP64": np.dtype("<f8"),
        "BF16": np.dtype("<f4"),
        "BYTES": np.dtype(np.object_),
    }
)

_DATATYPES: Final = MappingProxyType(
    {dtype: name for name, dtype in DTYPES.items() if name != "BF16"}
)

_CONTENT_FIELDS: Final = MappingProxyType(
    {
        "BOOL": "bool_contents",
        "INT8": "int_contents",
        "INT16": "int_contents",
        "INT32": "int_contents",
        "INT64": "int64_contents",
        "UINT8": "uint_contents",
        "UINT16": "uint_contents",
        "UINT32": "uint_contents",
        "UINT64": "uint64_contents",
        "FP32": "fp32_contents",
        "FP64": "fp64_contents",
        "BYTES": "bytes_contents",
    }
)

_NARROW: Final = frozenset({"INT8", "INT16", "UINT8", "UINT16"})
_LENGTH: Final = struct.Struct("<I")


class TensorError(ValueError):
    """A tensor's bytes, type and shape do not fit together; the message names the tensor."""


class TensorMessage(Protocol):
    """What an input and an output of the protocol have in common."""

    name: str
    datatype: str

    @property
    def shape(self) -> Sequence[int]:
        """Dimensions, the batch included."""
        ...

    @property
    def contents(self) -> Any:
        """Typed elements, when the tensor is not sent raw."""
        ...


def datatype_of(array: Array) -> str:
    """Return the protocol's name of the array's type; raise TensorError when there is none."""
    if array.dtype.kind in "SUO":
        return "BYTES"
    name = _DATATYPES.get(array.dtype.newbyteorder("<"))
    if name is None:
        msg = f"numpy type {array.dtype} has no datatype in the protocol"
        raise TensorError(msg)
    return name


def element_count(name: str, shape: Sequence[int], *, kind: str = "input") -> int:
    """Return the product of `shape` in unbounded integers; refuse negative dimensions."""
    if any(dim < 0 for dim in shape):
        msg = f"{kind} '{name}' has shape {list(shape)}: every dimension must be zero or more"
        raise TensorError(msg)
    return math.prod(shape)


def decode_raw(
    name: str, datatype: str, shape: Sequence[int], raw: bytes | memoryview, *, kind: str = "input"
) -> Array:
    """Return the tensor in `raw` as an array: a read-only view, except for BYTES and BF16.

    `kind` is what the tensor is called in an error: the client reads outputs.
    """
    dtype = DTYPES.get(datatype)
    if dtype is None:
        raise TensorError(_unknown_datatype(kind, name, datatype))
    count = element_count(name, shape, kind=kind)
    if datatype == "BYTES":
        return _decode_bytes(f"{kind} '{name}'", count, bytes(raw)).reshape(shape)
    expected = count * (2 if datatype == "BF16" else dtype.itemsize)
    if len(raw) != expected:
        msg = (
            f"{kind} byte size mismatch for {kind} '{name}': {datatype} of shape {list(shape)} "
            f"takes {expected} bytes, got {len(raw)}"
        )
        raise TensorError(msg)
    if datatype == "BF16":
        return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    return np.frombuffer(raw, dtype).reshape(shape)


def decode_contents(tensor: TensorMessage, *, kind: str = "input") -> Array:
    """Return the typed elements of `tensor.contents` as an array of the tensor's shape."""
    name, datatype, shape = tensor.name, tensor.datatype, tuple(tensor.shape)
    if datatype not in DTYPES:
        raise TensorError(_unknown_datatype(kind, name, datatype))
    field = _CONTENT_FIELDS.get(datatype)
    if field is None:
        msg = f"{kind} '{name}' of type {datatype} must be sent in raw_{kind}_contents"
        raise TensorError(msg)
    populated = [descriptor.name for descriptor, _ in tensor.contents.ListFields()]
    count = element_count(name, shape, kind=kind)
    if populated != [field] and (populated or count):
        found = ", ".join(populated) or "no field"
        msg = f"{kind} '{name}' of type {datatype} needs {field}, found {found}"
        raise TensorError(msg)
    values = getattr(tensor.contents, field)
    if len(values) != count:
        msg = (
            f"{kind} '{name}' of shape {list(shape)} needs {count} elements in {field}, "
            f"got {len(values)}"
        )
        raise TensorError(msg)
    if datatype == "BYTES":
        return _objects(values).reshape(shape)
    return _numbers(f"{kind} '{name}'", datatype, values).reshape(shape)


def has_contents(tensor: TensorMessage) -> bool:
    """Tell whether `contents` holds values; some clients send it empty beside raw bytes."""
    return bool(tensor.contents.ByteSize())


def encode_raw(array: Array, datatype: str | None = None) -> bytes:
    """Return the array's elements as the protocol's raw bytes, of its own type or `datatype`."""
    if datatype == "BF16":
        return _encode_bf16(array)
    if array.dtype.kind in "SUO":
        return b"".join(_length_prefixed(array.ravel()))
    little_endian = array.dtype.newbyteorder("<")
    return array.astype(little_endian, copy=False).tobytes()


def _encode_bf16(array: Array) -> bytes:
    bits = np.ascontiguousarray(array, "<f4").view("<u4")
    # Round half to even. The carry could turn a NaN into infinity, so NaNs are made quiet instead.
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    quiet = ((bits >> 16) | 0x40).astype("<u2")
    return np.where(np.isnan(array), quiet, rounded).astype("<u2").tobytes()


def _length_prefixed(elements: Iterable[object]) -> Iterable[bytes]:
    for element in elements:
        data = element if isinstance(element, bytes) else str(element).encode()
        yield _LENGTH.pack(len(data))
        yield data


def _decode_bytes(tensor: str, count: int, raw: bytes) -> Array:
    elements: list[bytes] = []
    offset, end = 0, len(raw)
    while offset < end:
        if end - offset < _LENGTH.size:
            msg = f"{tensor}: the length of BYTES element {len(elements)} is cut off"
            raise TensorError(msg)
        (length,) = _LENGTH.unpack_from(raw, offset)
        offset += _LENGTH.size
        if end - offset < length:
            msg = (
                f"{tensor}: BYTES element {len(elements)} should have {length} bytes, "
                f"{end - offset} are left"
            )
            raise TensorError(msg)
        elements.append(raw[offset : offset + length])
        offset += length
        if len(elements) > count:
            break
    if len(elements) != count:
        found = f"more than {count}" if len(elements) > count else str(len(elements))
        msg = f"{tensor} needs {count} BYTES elements, found {found}"
        raise TensorError(msg)
    return _objects(elements)


def _numbers(tensor: str, datatype: str, values: Sequence[Any]) -> Array:
    # The field of an 8 or 16 bit type holds 32 bits. Triton keeps the low ones, numpy before 2 too.
    if datatype not in _NARROW:
        return np.array(list(values), DTYPES[datatype])
    wide = np.array(list(values), np.int64)
    limits = np.iinfo(DTYPES[datatype])
    lost = wide[(wide < limits.min) | (wide > limits.max)]
    if lost.size:
        msg = f"{tensor} has an element that {datatype} cannot hold: {lost[0]}"
        raise TensorError(msg)
    return wide.astype(DTYPES[datatype])


def _objects(elements: Sequence[bytes]) -> Array:
    # np.array would make a fixed-width type of bytes and cut trailing zeros off.
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    return array


def _unknown_datatype(kind: str, name: str, datatype: str) -> str:
    return f"{kind} '{name}' has unknown datatype '{datatype}', expected one of {', '.join(DTYPES)}"
