"""Columns of a table as arrays of numbers, whatever package they are from.

pandas, polars and pyarrow are told apart by what their columns can do, and never imported: whoever
passes one of their columns has loaded the package.
"""

from __future__ import annotations

import math
import numbers as numeric
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from isotherm.client._misfit import Misfit
from isotherm.v1.tensors import Array

# Floats, integers of either sign, booleans.
NUMBERS: Final = "fiub"
ROWS_AND_COLUMNS: Final = 2

_SHOWN_CHARACTERS: Final = 40
_BLOCK_ROWS: Final = 4096


def read(name: str, values: Any) -> Array:
    """Return the column's numbers, shape (rows,); of a scalar, shape (). Nulls become NaN.

    The type is the column's own where that has no nulls, else a float that holds NaN. Raises Misfit
    with the column's name for anything that is no number.
    """
    array = as_array(name, values)
    if array.ndim == ROWS_AND_COLUMNS and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim > 1:
        msg = f"column '{name}' has shape {array.shape}, expected one number a row"
        raise Misfit(msg)
    if array.dtype.kind in NUMBERS:
        return array
    # From a list numpy makes texts of all elements as soon as one is a text: look at its own.
    elements = values if isinstance(values, list | tuple) else list(array.reshape(-1))
    return _converted(name, elements).reshape(array.shape)


def joined(names: Sequence[str], columns: Sequence[Array]) -> Array:
    """Return columns side by side, scalars in each row; raise Misfit where they differ in rows."""
    sizes = {name: len(column) for name, column in zip(names, columns, strict=True) if column.ndim}
    rows = next(iter(sizes.values()), 1)
    if any(size != rows for size in sizes.values()):
        lengths = ", ".join(f"'{name}' {size}" for name, size in sizes.items())
        msg = f"the columns differ in rows: {lengths}"
        raise Misfit(msg)
    # Of the types: numpy before 2 would look at a scalar's value as well.
    dtype = np.result_type(*[column.dtype for column in columns])
    matrix = np.empty((rows, len(columns)), dtype)
    # A block stays in the cache while its columns are filled: less than half the time.
    for start in range(0, rows, _BLOCK_ROWS):
        block = matrix[start : start + _BLOCK_ROWS]
        for index, column in enumerate(columns):
            block[:, index] = column[start : start + _BLOCK_ROWS] if column.ndim else column
    return matrix


def as_array(name: str, values: Any) -> Array:
    """Return a column as an array of whatever it holds; raise Misfit where it is none."""
    kind: Any = type(values)
    try:
        return _READERS.get(package(kind), _of_others)(values)
    except (RuntimeError, TypeError, ValueError) as error:
        if isinstance(values, list | tuple):
            # Of elements that differ in shape; which one is wrong is told below.
            return np.empty(len(values), np.object_)
        msg = f"column '{name}' cannot be read as an array: {error}"
        raise Misfit(msg) from error


@lru_cache(maxsize=64)
def package(kind: Any) -> str:
    """Return which package a column's type is like: pandas, polars or arrow; "" for others."""
    marks = {"isna", "null_count", "dictionary_encode", "to_list", "to_numpy"} & {*dir(kind)}
    if {"isna", "to_numpy"} <= marks:
        return "pandas"
    if {"null_count", "to_list", "to_numpy"} <= marks:
        return "polars"
    return "arrow" if {"null_count", "dictionary_encode"} <= marks else ""


def _of_pandas(series: Any) -> Array:
    array: Array = series.to_numpy()
    # Its own null is equal to nothing, not even to itself.
    if array.dtype.kind == "O" and series.isna().to_numpy().any():
        array = series.to_numpy(dtype=np.object_, na_value=None)
    return array


def _of_polars(series: Any) -> Array:
    # It knows no array for these.
    if str(series.dtype) in {"Int128", "UInt128"}:
        return np.array(series.to_list(), np.object_)
    array: Array = series.to_numpy()
    return array


def _of_arrow(column: Any) -> Array:
    # pyarrow 26 fills the nulls of a chunked dictionary column with its first entry.
    if hasattr(column.type, "index_type"):
        column = column.cast(column.type.value_type)
    return np.asarray(column)


def _of_others(array: Any) -> Array:
    if not isinstance(array, np.ma.MaskedArray):
        return np.asarray(array)
    data: Array = np.ma.getdata(array)
    if np.ma.is_masked(array):
        data = data.astype(np.object_)
        data[np.ma.getmaskarray(array)] = None
    return data


_READERS: Final[Mapping[str, Callable[[Any], Array]]] = MappingProxyType(
    {"pandas": _of_pandas, "polars": _of_polars, "arrow": _of_arrow}
)


def _converted(name: str, elements: Sequence[Any]) -> Array:
    found = [math.nan if _is_null(element) else element for element in elements]
    for row, element in enumerate(found):
        if not _is_number(element):
            msg = (
                f"column '{name}' must hold numbers, row {row} has {_shown(element)} "
                f"({type(element).__name__}): convert the column first"
            )
            raise Misfit(msg)
    try:
        array = np.array(found)
        # Decimals, fractions, and integers of more than 64 bits.
        return array if array.dtype.kind in NUMBERS else np.array(found, np.float64)
    except (OverflowError, ValueError) as error:
        msg = f"column '{name}' has a number that 64 bits cannot hold: {error}"
        raise Misfit(msg) from error


def _is_number(value: object) -> bool:
    if isinstance(value, numeric.Real | np.bool_):
        return True
    # A Decimal, whose module takes a millisecond to import.
    return isinstance(value, numeric.Number) and not isinstance(value, numeric.Complex)


def _is_null(value: object) -> bool:
    # The second is `pandas.NA`, as the rows of a DataFrame hold it.
    return value is None or type(value).__name__ == "NAType"


def _shown(value: object) -> str:
    text = repr(str(value)) if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
