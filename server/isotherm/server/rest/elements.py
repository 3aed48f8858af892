"""Tensors in JSON: lists of numbers, truth values or text, to raw bytes and back."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from isotherm.server.rest.status import HttpError
from isotherm.v1.tensors import DTYPES, Array, TensorError, decode_raw, encode_raw

# What JSON has no numbers for goes by its name in protobuf's JSON, both ways.
NAN, INFINITY, MINUS_INFINITY = "NaN", "Infinity", "-Infinity"
_NON_FINITE: Final[Mapping[Any, float]] = MappingProxyType(
    {NAN: math.nan, INFINITY: math.inf, MINUS_INFINITY: -math.inf}
)
# Of an element, in an error.
_MAX_SHOWN: Final = 40
# JSON has no type that would keep their bits; 16-bit floats travel as binary data.
_BINARY_ONLY: Final = frozenset({"FP16", "BF16"})


class Literal(str):
    """NaN, Infinity or -Infinity where a value should be: no JSON, but what many programs write."""

    __slots__ = ()


# bool is an int for Python, and not here.
_ELEMENTS: Final[Mapping[str, tuple[frozenset[type], str]]] = MappingProxyType(
    {
        "b": (frozenset({bool}), "true or false"),
        "i": (frozenset({int}), "a whole number"),
        "u": (frozenset({int}), "a whole number"),
        # What is null is missing: a model that takes no missing cells refuses it as any NaN.
        "f": (frozenset({int, float, str, Literal, type(None)}), "a number"),
        "O": (frozenset({str}), "text"),
    }
)


def encode(name: str, datatype: str, shape: Sequence[int], data: object) -> bytes:
    """Return the raw bytes of an input's `data`, flat or nested as its shape is.

    Raises HttpError naming the tensor, the element, and what was expected.
    """
    dtype = DTYPES.get(datatype)
    if dtype is None:
        known = ", ".join(DTYPES)
        msg = f"input '{name}' has unknown datatype '{datatype}', expected one of {known}"
        raise HttpError(400, msg)
    if datatype in _BINARY_ONLY:
        msg = f"input '{name}' is {datatype}, which JSON cannot carry: send it as binary data"
        raise HttpError(400, msg)
    values = _flat(name, shape, data)
    allowed, expected = _ELEMENTS[dtype.kind]
    if not allowed.issuperset(map(type, values)):
        index, value = next((i, v) for i, v in enumerate(values) if type(v) not in allowed)
        msg = f"element {index} of input '{name}' is {_shown(value)}, {datatype} needs {expected}"
        raise HttpError(400, msg)
    if datatype == "BYTES":
        return _text(name, values)
    array = _floats(name, datatype, values) if dtype.kind == "f" else _whole(name, datatype, values)
    return encode_raw(array)


def decode(name: str, datatype: str, shape: Sequence[int], raw: bytes) -> list[Any]:
    """Return the elements of an output, flat; raise HttpError where JSON cannot carry them."""
    if datatype in _BINARY_ONLY:
        msg = f"output '{name}' is {datatype}, which JSON cannot carry: {_ASK_FOR_BINARY}"
        raise HttpError(400, msg)
    try:
        array = decode_raw(name, datatype, tuple(shape), raw, kind="output").ravel()
        if datatype == "BYTES":
            return [element.decode() for element in array]
    except TensorError as error:
        raise HttpError(500, str(error)) from error
    except UnicodeDecodeError as error:
        msg = f"output '{name}' has an element that is no text: {_ASK_FOR_BINARY}"
        raise HttpError(400, msg) from error
    elements: list[Any] = array.tolist()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return [element if math.isfinite(element) else _name(element) for element in elements]
    return elements


_ASK_FOR_BINARY: Final = "ask for it with the output's parameter 'binary_data'"


def _flat(name: str, shape: Sequence[int], data: object) -> list[Any]:
    if not isinstance(data, list):
        msg = f"the data of input '{name}' is {_shown(data)}, expected a list"
        raise HttpError(400, msg)
    values = data
    if data and isinstance(data[0], list):
        lengths = [{len(data)}]
        for _ in shape[1:]:
            if not all(isinstance(row, list) for row in values):
                break
            lengths.append(set(map(len, values)))
            values = list(chain.from_iterable(values))
        if len(lengths) != len(shape) or not all(map(set.issubset, lengths, _each(shape))):
            msg = (
                f"the data of input '{name}' is nested otherwise than its shape {list(shape)}: "
                "nest it so, or give it flat"
            )
            raise HttpError(400, msg)
    count = math.prod(shape)
    if len(values) != count:
        msg = (
            f"input '{name}' of shape {list(shape)} needs {count} elements in data, "
            f"got {len(values)}"
        )
        raise HttpError(400, msg)
    return values


def _each(shape: Sequence[int]) -> list[set[int]]:
    return [{size} for size in shape]


def _whole(name: str, datatype: str, values: list[Any]) -> Array:
    dtype = DTYPES[datatype]
    if dtype.kind in "iu" and values:
        limits = np.iinfo(dtype)
        for value in (min(values), max(values)):
            if not limits.min <= value <= limits.max:
                raise _not_held(name, datatype, values.index(value), value)
    return np.array(values, dtype)


def _floats(name: str, datatype: str, values: list[Any]) -> Array:
    numbers = values
    if any(isinstance(value, str) for value in values):
        for index, value in enumerate(values):
            if isinstance(value, str) and value not in _NON_FINITE:
                msg = f"element {index} of input '{name}' is {_shown(value)}, expected a number"
                raise HttpError(400, msg)
        numbers = [_NON_FINITE[value] if isinstance(value, str) else value for value in values]
    try:
        with np.errstate(over="ignore"):
            array = np.array(numbers, np.float64).astype(DTYPES[datatype])
    except OverflowError as error:
        index = next(i for i, v in enumerate(numbers) if abs(v or 0) > sys.float_info.max)
        raise _not_held(name, datatype, index, numbers[index]) from error
    # An infinity that was not asked for by its name: a number has become one on the way.
    for index in np.flatnonzero(np.isinf(array)).tolist():
        if not isinstance(values[index], str):
            raise _not_held(name, datatype, index, values[index])
    return array


def _text(name: str, values: list[str]) -> bytes:
    array = np.empty(len(values), np.object_)
    try:
        array[:] = [value.encode() for value in values]
    except UnicodeEncodeError as error:
        msg = f"input '{name}' has an element that is no text: half a surrogate pair"
        raise HttpError(400, msg) from error
    return encode_raw(array)


def _not_held(name: str, datatype: str, index: int, value: float) -> HttpError:
    msg = f"element {index} of input '{name}' is {_shown(value)}, which {datatype} cannot hold"
    return HttpError(400, msg)


def _shown(value: object) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and abs(value) >= 1 << 64:
        return "a number beyond 64 bits"
    text = repr(value) if isinstance(value, str) and not isinstance(value, Literal) else str(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _name(value: float) -> str:
    if math.isnan(value):
        return NAN
    return INFINITY if value > 0 else MINUS_INFINITY
