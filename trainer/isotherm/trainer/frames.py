"""Frames: rows that a caller holds, as the raw numbers and codes that a model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isotherm.trainer import categories, reading, sources
from isotherm.trainer import columns as readable
from isotherm.trainer.columns import Column, Floats
from isotherm.trainer.config import ColumnsConfig
from isotherm.trainer.errors import DataError

_DATATYPES: Final = {"b": "BOOL", "i": "INT", "u": "UINT", "f": "FP"}


def features(
    x: Any, given: Sequence[str], units: Mapping[str, str], config: ColumnsConfig
) -> tuple[Floats, tuple[Column, ...]]:
    """Return rows to learn from, (rows, features), and what their columns are taken for.

    Args:
        x: shape (rows, features), or (rows,) for one feature; or columns by name.
        given: their names; those of `x.columns` if it has any, else x0, x1 ...
        units: by column name.
        config: which features are categories, and what becomes of a missing number.

    Raises:
        DataError: a column cannot be learned from.
    """
    chosen = names(x, given, "x")
    reading.check_names("x", chosen, config)
    array = None if config.categories else _numeric(x)
    if array is not None:
        return _plain(array, chosen, units, config)
    read = [
        reading.feature(f"column '{name}' of x", name, units.get(name, ""), cells, config)
        for name, cells in zip(chosen, _columns(x, chosen), strict=True)
    ]
    return np.column_stack([values for values, _ in read]), tuple(column for _, column in read)


def _plain(
    array: NDArray[Any], chosen: tuple[str, ...], units: Mapping[str, str], config: ColumnsConfig
) -> tuple[Floats, tuple[Column, ...]]:
    """Return the rows of an array of numbers, and its columns."""
    values = numbers(array, "x", gaps=config.missing is not None)
    absent = np.isnan(values).sum(axis=0).tolist()
    plain = zip(described(chosen, array.dtype, units), absent, strict=True)
    return values, tuple(
        replace(
            one,
            missing=reading.missing(
                f"column '{one.name}' of x", one.name, gaps, len(values), config
            ),
        )
        for one, gaps in plain
    )


def _columns(x: Any, chosen: Sequence[str]) -> list[Any]:
    """Return the columns of x as Arrow cells."""
    if not sources.is_table(x):
        return [_cells(column, "x") for column in _array(x, "x").T]
    found = sources.of_memory(x, "x").columns
    if not isinstance(x, Mapping):
        return list(found.columns)
    for name in chosen:
        if name not in x:
            msg = f"x has no column '{name}'; its columns are: {', '.join(found.column_names)}"
            raise DataError(msg)
    return [found.column(name) for name in chosen]


def rows(x: Any, columns: Sequence[Column], name: str = "x") -> Floats:
    """Return rows to be answered, (rows, features), by the columns that a model was trained on.

    Args:
        x: columns by name, of which those of the model are taken; or what `table` takes. A category
            is given by its values, not by codes.
        columns: the model's features.
        name: as errors call it.

    Raises:
        DataError: a column is not there, or a cell is missing or of another kind than in training.
    """
    if sources.is_table(x):
        found = sources.of_memory(x, name).columns
        lacking = [one.name for one in columns if one.name not in found.column_names]
        if not lacking:
            return _taken(name, columns, [found.column(one.name) for one in columns])
        if isinstance(x, Mapping) or any(one.categories for one in columns):
            listing = ", ".join(found.column_names)
            msg = f"{name} has no column '{lacking[0]}'; its columns are: {listing}"
            raise DataError(msg)
    if not any(one.categories for one in columns):
        values = numbers(x, name, gaps=any(one.missing != "refuse" for one in columns))
        _check_width(values, columns, name)
        return _without_gaps(values, columns, name)
    array = _array(x, name)
    _check_width(array, columns, name)
    for one in columns:
        if array.dtype.kind in "iuf" and one.categories and one.datatype == "BYTES":
            msg = (
                f"{name} holds numbers, and '{one.name}' is a category of text; give its values, "
                "in a table with named columns or an array of objects"
            )
            raise DataError(msg)
    return _taken(name, columns, [_cells(column, name) for column in array.T])


def numbers(values: Any, name: str, *, gaps: bool = False) -> Floats:
    """Return numbers of shape (rows, columns), rounded to the float32 that is served.

    They are finite, but for NaN where there may be `gaps`.
    """
    try:
        with np.errstate(over="ignore"):
            array = np.asarray(values).astype(np.float32).astype(np.float64)
    except (TypeError, ValueError) as error:
        msg = f"{name} holds something else than numbers: {error}"
        raise DataError(msg) from error
    array = _square(array, name)
    wrong = np.isinf(array) if gaps else ~np.isfinite(array)
    if wrong.any():
        row, column = (int(index) for index in np.argwhere(wrong)[0])
        found = f"{name} has {array[row, column]} in row {row}, column {column}"
        msg = f"{found}; expected finite 32-bit numbers"
        raise DataError(msg)
    return array


def names(values: Any, given: Sequence[str], prefix: str) -> tuple[str, ...]:
    """Return the names of columns: those given, the values' own, or x0, x1 ..."""
    if isinstance(values, Mapping):
        return tuple(given or values)
    shape = np.shape(values)
    width = shape[1] if len(shape) > 1 else 1
    found = given or getattr(values, "column_names", None)
    found = getattr(values, "columns", None) if found is None else found
    names = tuple(str(name) for name in found) if found is not None and len(found) else ()
    if given and len(names) != width:
        msg = f"{len(names)} names are given for the {width} columns of {prefix}"
        raise DataError(msg)
    if len(names) == width:
        return names
    return (prefix,) if width == 1 else tuple(f"{prefix}{i}" for i in range(width))


def described(
    names: tuple[str, ...], dtype: np.dtype[Any], units: Mapping[str, str]
) -> tuple[Column, ...]:
    """Return the columns of an array of numbers."""
    bits = "" if dtype.kind == "b" else str(8 * dtype.itemsize)
    datatype = f"{_DATATYPES[dtype.kind]}{bits}" if dtype.kind in _DATATYPES else "BYTES"
    return tuple(Column(name=name, unit=units.get(name, ""), datatype=datatype) for name in names)


def _taken(name: str, columns: Sequence[Column], cells: Sequence[Any]) -> Floats:
    values = [
        categories.codes(one, column.categories, column.datatype)
        if column.categories
        else readable.numbers(f"column '{column.name}' of {name}", one)
        for column, one in zip(columns, cells, strict=True)
    ]
    return _without_gaps(np.column_stack(values), columns, name)


def _without_gaps(values: Floats, columns: Sequence[Column], name: str) -> Floats:
    for column, cells in zip(columns, values.T, strict=True):
        absent = np.isnan(cells)
        if column.missing == "refuse" and absent.any():
            where = f"column '{column.name}' of {name} has an empty cell in row"
            msg = (
                f"{where} {int(absent.argmax())}, and the model was trained without any; fill it, "
                "or train with missing={'" + column.name + "': 'mean'}"
            )
            raise DataError(msg)
    return values


def _cells(column: NDArray[Any], name: str) -> Any:
    """Return one column of an array as Arrow cells; NaN is an empty one."""
    try:
        return pa.chunked_array([pa.array(column.tolist(), from_pandas=True)])
    except (pa.ArrowException, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        msg = f"a column of {name} holds values of several kinds: {reason}"
        raise DataError(msg) from error


def _numeric(x: Any) -> NDArray[Any] | None:
    """Return x as an array, if all of it is numbers, or what numpy takes for them."""
    if isinstance(x, Mapping):
        return None
    array = np.asarray(x)
    if sources.is_table(x):
        # numpy makes numbers of categories that are numbers; their type says otherwise.
        kinds = pa.table(x).schema.types
        plain = not any(pa.types.is_dictionary(kind) for kind in kinds)
        return array if plain and array.dtype.kind in "biuf" else None
    try:
        array.astype(np.float32)
    except (TypeError, ValueError):
        return None
    return array


def _array(x: Any, name: str) -> NDArray[Any]:
    array = np.asarray(x)
    if array.dtype.kind in "SU" and isinstance(x, Sequence):
        # numpy makes text of the numbers beside it.
        array = np.asarray(x, dtype=object)
    return _square(array, name)


def _square(array: NDArray[Any], name: str) -> NDArray[Any]:
    square = array[:, np.newaxis] if array.ndim == 1 else array
    if square.ndim != 2 or not square.shape[1]:  # noqa: PLR2004  rows and columns
        msg = f"{name} has shape {array.shape}, expected (rows, columns)"
        raise DataError(msg)
    return square


def _check_width(array: NDArray[Any], columns: Sequence[Column], name: str) -> None:
    if array.shape[1] != len(columns):
        msg = f"{name} has {array.shape[1]} columns, the model was fitted to {len(columns)}"
        raise DataError(msg)
