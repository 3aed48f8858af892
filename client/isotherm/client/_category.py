"""One column of a table as the codes of a category, whatever package it is from.

A model's input holds numbers. Of a category stands there a value's place in the contract's list,
-1 for a value that is not in it, NaN for a missing cell. Each value that differs is looked up once,
where the column's package can tell which do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from isotherm.client import _column
from isotherm.client._misfit import Misfit
from isotherm.v1.categories import name_of
from isotherm.v1.contract_pb2 import Contract, Feature
from isotherm.v1.tensors import Array

# Any number that is no place in the list would do.
UNKNOWN: Final = -1.0

_SHOWN: Final = 5


class Lookup(dict[Any, float]):
    """The codes of one feature's values by name; what is not there is looked at."""

    def __init__(self, feature: Feature, *, refuse_unknown: bool = False) -> None:
        super().__init__((name, float(code)) for code, name in enumerate(feature.categories))
        self.refuses_unknown = refuse_unknown
        self._datatype = feature.datatype

    def __missing__(self, value: object) -> float:
        name = name_of(value, self._datatype)
        return math.nan if name is None else self.get(name, UNKNOWN)

    def codes(self, values: Iterable[Any], count: int) -> Array:
        """Return the codes of so many values."""
        return np.fromiter(map(self.__getitem__, values), np.float32, count)


def lookups(contract: Contract, *, refuse_unknown: bool = False) -> dict[str, Lookup]:
    """Return the lookup of each feature that is a category."""
    return {
        feature.name: Lookup(feature, refuse_unknown=refuse_unknown)
        for feature in contract.features
        if feature.categories
    }


def read(name: str, values: Any, lookup: Lookup) -> Array:
    """Return the codes of a column's cells, FP32 of shape (rows,); of a scalar, shape ().

    Raises Misfit with the column's name for cells that are no values, or that must be known.
    """
    codes = _read(name, values, lookup)
    if lookup.refuses_unknown and (codes == UNKNOWN).any():
        raise _unknown(name, values, codes, lookup)
    return codes


def _read(name: str, values: Any, lookup: Lookup) -> Array:
    try:
        if isinstance(values, list | tuple):
            return lookup.codes(values, len(values))
        kind: Any = type(values)
        package = _column.package(kind)
        if package == "pandas":
            return _of_pandas(values, lookup)
        if package == "polars":
            return _of_polars(values, lookup)
        if package == "arrow":
            return _of_arrow(values, lookup)
        return _of_array(name, values, lookup)
    except TypeError as error:
        # Of elements that cannot be looked up, such as lists.
        raise _told(name, values, lookup) from error


def names(values: Any) -> list[str | None]:
    """Return the names of a column's cells, None for missing ones: what a person reads."""
    if isinstance(values, np.ndarray):
        values = values.reshape(-1)
    elements = values.to_pylist() if hasattr(values, "to_pylist") else list(values)
    return [name_of(element) for element in elements]


def _of_pandas(column: Any, lookup: Lookup) -> Array:
    if hasattr(column.dtype, "categories"):
        # A Series has them below `cat`, an index has them itself.
        holder = getattr(column, "cat", column)
        codes, distinct = np.asarray(holder.codes), holder.categories
    else:
        codes, distinct = column.factorize()
    return _taken(codes, list(distinct), lookup)


def _of_polars(column: Any, lookup: Lookup) -> Array:
    distinct = column.unique().to_list()
    codes = lookup.codes(distinct, len(distinct)).tolist()
    array: Array = column.replace_strict(distinct, codes, return_dtype=float).to_numpy()
    return array.astype(np.float32)


def _of_arrow(column: Any, lookup: Lookup) -> Array:
    parts = [_of_chunk(chunk, lookup) for chunk in getattr(column, "chunks", [column])]
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def _of_chunk(chunk: Any, lookup: Lookup) -> Array:
    if not hasattr(chunk.type, "index_type"):
        try:
            chunk = chunk.dictionary_encode()
        except NotImplementedError:
            # Of rare types, more of them the older the package is.
            return lookup.codes(chunk.to_pylist(), len(chunk))
    return _taken(np.asarray(chunk.indices.fill_null(-1)), chunk.dictionary.to_pylist(), lookup)


def _of_array(name: str, values: Any, lookup: Lookup) -> Array:
    array = _column.as_array(name, values)
    if array.ndim == _column.ROWS_AND_COLUMNS and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim > 1:
        msg = f"column '{name}' has shape {array.shape}, expected one value a row"
        raise Misfit(msg)
    if array.dtype.kind in _column.NUMBERS and array.ndim:
        distinct, places = np.unique(array, return_inverse=True)
        return _taken(places, distinct.tolist(), lookup)
    flat = array.reshape(-1)
    return lookup.codes(flat.tolist(), flat.size).reshape(array.shape)


def _taken(places: Array, distinct: Sequence[Any], lookup: Lookup) -> Array:
    """Return the codes of cells by their places among the values that differ; -1 is missing."""
    codes = np.append(lookup.codes(distinct, len(distinct)), np.float32(np.nan))
    return codes[places]


def _unknown(name: str, values: Any, codes: Array, lookup: Lookup) -> Misfit:
    row = int(np.argmax(codes == UNKNOWN))
    value = names(values)[row] if codes.ndim else name_of(values)
    known = ", ".join(f"'{each}'" for each in list(lookup)[:_SHOWN])
    more = f" and {len(lookup) - _SHOWN} more" if len(lookup) > _SHOWN else ""
    return Misfit(
        f"column '{name}' has '{value}' in row {row}, which the model does not know, expected one "
        f"of {known}{more}"
    )


def _told(name: str, values: Any, lookup: Mapping[Any, float]) -> Misfit:
    elements = values.to_pylist() if hasattr(values, "to_pylist") else values
    for row, element in enumerate(elements):
        try:
            lookup[element]
        except TypeError:
            return Misfit(
                f"column '{name}' is a category, row {row} has a {type(element).__name__}: "
                "expected text, a number or None"
            )
    return Misfit(f"column '{name}' is a category, and cannot be read as one")
