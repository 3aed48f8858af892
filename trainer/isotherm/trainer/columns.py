"""Columns: what a column is, and its cells as checked numbers or as the classes of a label."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isotherm.trainer.errors import DataError

Floats = NDArray[np.float64]

# `refuse`, `mean` and `indicator` are for numbers, `unknown` for every category.
Missing = Literal["refuse", "mean", "indicator", "unknown"]

_DATATYPES: Final = MappingProxyType(
    {
        "bool": "BOOL",
        "int8": "INT8",
        "int16": "INT16",
        "int32": "INT32",
        "int64": "INT64",
        "uint8": "UINT8",
        "uint16": "UINT16",
        "uint32": "UINT32",
        "uint64": "UINT64",
        "halffloat": "FP16",
        "float": "FP32",
        "double": "FP64",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column of the table: its name, its unit ("" when unknown) and its type there.

    Attributes:
        categories: the values of a category, the most frequent first; empty for a number.
        missing: what the graph does with a missing cell.
        embedding: the width of the vector that a network learns for each category; 0: one-hot.
        transform: of a target, the scale that it is learned on: log, log1p, sqrt, or its own ("").
        unknown: whether training rows have cells that are none of `categories`, missing ones
            included: the unknown value is then learned like the others.
    """

    name: str
    unit: str
    datatype: str
    categories: tuple[str, ...] = ()
    missing: Missing = "refuse"
    embedding: int = 0
    unknown: bool = False
    transform: str = ""


def datatype(kind: Any) -> str:
    """Return the contract's name for an Arrow type: FP64, BYTES for text, DATE; or nothing."""
    if is_text(kind):
        return "BYTES"
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_date(kind):
        return "DATE"
    if pa.types.is_time(kind):
        return "TIME"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP"
    return _DATATYPES.get(str(kind), "")


def is_number(kind: Any) -> bool:
    """Whether the cells of an Arrow type are numbers; booleans are 0 and 1."""
    return str(kind) in _DATATYPES or bool(pa.types.is_decimal(kind))


def is_text(kind: Any) -> bool:
    """Whether the cells of an Arrow type are text, or categories of text."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return str(kind) in {"string", "large_string", "string_view"}


def number(where: str, cells: Any) -> Floats:
    """Return the cells as finite numbers of shape (rows,), rounded to float32, not all the same.

    Args:
        where: the column, as an error begins.
        cells: a `pyarrow.ChunkedArray`.

    Raises:
        DataError: a cell is missing, infinite or no number, or all are the same.
    """
    _check_kind(where, cells)
    _check_missing(where, missing(cells))
    values = numbers(where, cells)
    if (values == values[0]).all():
        msg = f"{where} is constant ({values[0]:g} in every row); remove it: it teaches nothing"
        raise DataError(msg)
    return values


def numbers(where: str, cells: Any) -> Floats:
    """Return the cells of numbers, shape (rows,), rounded to float32, NaN where they are missing.

    Raises:
        DataError: a cell is no number, infinite, or too large.
    """
    _check_kind(where, cells)
    # Values beyond float32 become infinite here, and are refused with the rest.
    with np.errstate(over="ignore"):
        values = cells.cast(pa.float64(), safe=False).to_numpy().astype(np.float32)
    infinite = np.isinf(values)
    if infinite.any():
        row = int(np.argmax(infinite))
        msg = f"{where} has {cells[row].as_py()} in row {row + 1}; expected finite 32-bit numbers"
        raise DataError(msg)
    return np.asarray(values, dtype=np.float64)


def label(where: str, cells: Any) -> tuple[Floats, tuple[str, ...]]:
    """Return the index of each row's class, shape (rows,), and the classes that occur.

    They are sorted, numbers by size, but for ordered categories, which keep their order.
    """
    _check_missing(where, missing(cells))
    ranked = pa.types.is_dictionary(cells.type) and cells.type.ordered
    order = cells.combine_chunks().dictionary.to_pylist() if ranked else None
    values = cells.to_pylist()
    present = set(values)
    found = [value for value in order if value in present] if order else sorted(present)
    names = tuple(_name(value) for value in found)
    index = {value: position for position, value in enumerate(found)}
    rows = len(values)
    if len(found) == rows:
        msg = (
            f"{where} has {rows} different values in {rows} rows: as a label, each class would "
            "have one row; choose another target, or --task regression for numbers"
        )
        raise DataError(msg)
    return np.array([index[value] for value in values], dtype=np.float64), names


def missing(cells: Any) -> NDArray[np.bool_]:
    """Tell which cells are missing, shape (rows,): null, NaN, or text that is empty."""
    absent: NDArray[np.bool_] = cells.is_null().to_numpy().astype(np.bool_)
    if pa.types.is_floating(cells.type):
        values: Floats = cells.cast(pa.float64()).to_numpy()
        return absent | np.isnan(values)
    if is_text(cells.type):
        blank = [value is not None and not value.strip() for value in cells.to_pylist()]
        return absent | np.array(blank, dtype=np.bool_)
    return absent


def _check_kind(where: str, cells: Any) -> None:
    if not (is_number(cells.type) or pa.types.is_null(cells.type)):
        raise DataError(_no_number(where, cells))


def _check_missing(where: str, absent: NDArray[np.bool_]) -> None:
    count = int(absent.sum())
    if not count:
        return
    if count == len(absent):
        msg = f"{where} has {count} empty cells, which is all of them; leave the column out"
        raise DataError(msg)
    row = int(np.argmax(absent)) + 1
    cells = "cell" if count == 1 else "cells"
    msg = f"{where} has {count} empty {cells}, the first in row {row}; fill or remove them"
    raise DataError(msg)


def _name(value: Any) -> str:
    """Return a class's name: 1.0 is read as 1."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _no_number(where: str, cells: Any) -> str:
    remedy = "encode it as numbers, or leave it out"
    for row, cell in enumerate(cells.to_pylist(), start=1):
        try:
            float(cell)
        except (TypeError, ValueError):
            return f"{where} has {cell!r} in row {row}; expected numbers: {remedy}"
    if is_text(cells.type):
        return f"{where} has its numbers as text, such as '{cells[0]}'; write them without quotes"
    return f"{where} has type {cells.type}; expected numbers: {remedy}"
