"""Names of categories: what trainer and client take for one value, and what for a missing cell.

A table is trained on as Parquet and asked about as CSV, a DataFrame or a dict: a value must have
one name in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from types import MappingProxyType
from typing import Final

import numpy as np

from isotherm.v1.contract_pb2 import Histogram

_MAX_BINS: Final = 10

# What a CSV file has in the place of a number, a truth or a time that is missing, beside nothing:
# the trainer's reader takes these for it.
NULLS: Final = frozenset(
    {
        *("NA", "N/A", "n/a", "#NA", "#N/A", "#N/A N/A", "NULL", "null"),
        *("NaN", "nan", "-NaN", "-nan"),
        *("1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    }
)

_TRUTHS: Final = MappingProxyType({"true": "True", "false": "False", "1": "True", "0": "False"})
_DIGITS: Final = MappingProxyType({"True": "1", "False": "0"})
_READERS: Final[Mapping[str, tuple[Callable[[str], object], ...]]] = MappingProxyType(
    {
        "DATE": (date.fromisoformat,),
        "TIME": (time.fromisoformat,),
        "TIMESTAMP": (datetime.fromisoformat,),
    }
)


def name_of(value: object, datatype: str = "") -> str | None:
    """Return the name of a cell's value in `Feature.categories`; None for a missing cell.

    Text stands for itself, bytes for the UTF-8 text that they are. A whole number has its digits,
    whatever its type: 3, 3.0 and "3" are one value, since a column of integers with gaps is one of
    floats to some packages. Other values are written as Python writes them: `True`, `2.5`,
    `2026-01-31`.

    Missing are None, NaN, the nulls of pandas, and text that is empty or blank, as the empty cell
    of a CSV file is.

    Args:
        value: Of a cell.
        datatype: Of its column in the training table, where that is known. A column of numbers,
            truths or times was read from a CSV file as such: "01", " 1" and "1.0" are 1 in it,
            "true" is `True`, "10:00" is `10:00:00`, and one of `NULLS` is missing. In a column of
            truths 1 and 0 are such, in one of numbers `True` is 1.
    """
    name = _name(value)
    if name is None or datatype in {"", "BYTES"}:
        return name
    if name.strip() in NULLS:
        return None
    if datatype == "BOOL":
        return _TRUTHS.get(name.strip().lower(), name)
    for read in _READERS.get(datatype, (int, float)):
        try:
            return _name(read(_DIGITS.get(name, name.strip())))
        except ValueError:
            continue
    return name


def _name(value: object) -> str | None:
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, bytes | bytearray):
        return _name(bytes(value).decode(errors="replace"))
    # `pandas.NA` and `pandas.NaT`, by name: neither is equal to itself.
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return None
    if isinstance(value, float) or type(value).__name__ in {"float16", "float32"}:
        number = float(value)  # type: ignore[arg-type]
        if math.isnan(number):
            return None
        # As single precision has it: the same number may come as either.
        return str(int(number)) if number.is_integer() else str(np.float32(number))
    return str(value)


def histogram(counts: Sequence[int]) -> Histogram:
    """Return the deciles of a category: up to ten bins, each of whole codes.

    The edges lie between codes, so that a frequent value has a bin of its own, as each of up to ten
    values has. Of a single value there is nothing to compare: the histogram is empty.

    Args:
        counts: Rows of each code, most frequent first.
    """
    if len(counts) < 2:  # noqa: PLR2004  a value and another
        return Histogram()
    edges, bins = [-0.5], [0]
    left = sum(counts)
    for code, count in enumerate(counts):
        bins[-1] += count
        room = _MAX_BINS - len(bins)
        # What is left is shared evenly by the bins that are left.
        full = len(counts) <= _MAX_BINS or bins[-1] * (room + 1) >= left
        if full and room and code + 1 < len(counts):
            edges.append(code + 0.5)
            left -= bins[-1]
            bins.append(0)
    return Histogram(edges=[*edges, len(counts) - 0.5], counts=bins)
