"""Categories: which columns are made of values that are told apart, and the codes of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isotherm.trainer import columns
from isotherm.trainer.columns import Floats
from isotherm.trainer.config import ColumnsConfig
from isotherm.trainer.errors import DataError
from isotherm.v1.categories import name_of

# Beyond so many values, a column each would be most of the network.
ONE_HOT_VALUES: Final = 32
_WIDEST: Final = 50

UNKNOWN: Final = -1.0


def is_category(name: str, kind: Any, config: ColumnsConfig) -> bool:
    """Whether a feature of an Arrow type is a category: text is, and what the settings name."""
    return name in config.categories or columns.is_text(kind) or bool(pa.types.is_dictionary(kind))


def read(where: str, cells: Any, config: ColumnsConfig) -> tuple[Floats, tuple[str, ...]]:
    """Return the code of each cell, shape (rows,), and the values that have one.

    A rare value's code is -1, a missing cell is NaN.

    Args:
        where: the column, as an error begins.
        cells: a `pyarrow.ChunkedArray`.
        config: how rare a value may be, and how many there may be.

    Raises:
        DataError: no value, or nothing but one value, is left; or cells are no single values.
    """
    if pa.types.is_nested(cells.type):
        msg = f"{where} has type {cells.type}; a category is made of text, or of single values"
        raise DataError(msg)
    names, indices = _named(cells)
    kept = vocabulary(where, _counted(names, indices), len(cells), config)
    return _codes(names, indices, kept), kept


def counted(cells: Any) -> dict[str, int]:
    """Return the rows of each value, missing cells left out."""
    return _counted(*_named(cells))


def codes(cells: Any, values: Sequence[str], datatype: str = "") -> Floats:
    """Return the code of each cell among known `values`, shape (rows,).

    The `datatype` is the column's in the training table, where that may have been another.
    """
    return _codes(*_named(cells, datatype), values)


def vocabulary(
    where: str, rows_of: Mapping[str, int], rows: int, config: ColumnsConfig
) -> tuple[str, ...]:
    """Return the values that get a code, the most frequent first, ties by name.

    Args:
        where: the column, as an error begins.
        rows_of: the rows that have each value.
        rows: of the table.
        config: how rare a value may be, and how many there may be.
    """
    if not rows_of:
        msg = f"{where} has {rows} empty cells, which is all of them; leave the column out"
        raise DataError(msg)
    kept = frequent(rows_of, config)
    if not kept:
        msg = (
            f"{where} has {len(rows_of)} different values, none of them in "
            f"{config.min_category_rows} rows or more: it teaches nothing about a next row; leave "
            "it out, or lower data.min_category_rows (--min-category-rows)"
        )
        raise DataError(msg)
    if rows_of[kept[0]] == rows:
        msg = f"{where} is constant ('{kept[0]}' in every row); remove it: it teaches nothing"
        raise DataError(msg)
    return kept


def frequent(rows_of: Mapping[str, int], config: ColumnsConfig) -> tuple[str, ...]:
    """Return the values that are frequent enough to be told apart, the most frequent first."""
    known = ((name, count) for name, count in rows_of.items() if count >= config.min_category_rows)
    ranked = sorted(known, key=lambda pair: (-pair[1], pair[0]))
    return tuple(name for name, _ in ranked[: config.max_categories])


def embedding_width(name: str, values: int, config: ColumnsConfig) -> int:
    """Return the width of the vector for each of so many values; 0: they are one-hot."""
    kind = config.categories.get(name, "auto")
    if kind == "one-hot" or (kind == "auto" and values <= ONE_HOT_VALUES):
        return 0
    # Found by trial on many tables, and fastai's rule since.
    return min(_WIDEST, max(round(float(1.6 * values**0.56)), 1))


def check_text(where: str, cells: Any) -> None:
    """Raise DataError where text, which nobody called a category, is made of numbers."""
    found = _cells(cells).drop_null().unique().to_pylist()
    other = next((value for value in found if value.strip() and not _is_number(value)), None)
    numbers = sum(_is_number(value) for value in found)
    if 2 * numbers <= len(found):
        return
    way_out = "if it is a category, name it in data.categories (--categories)"
    if other is None:
        what = f"{where} has its numbers as text, such as '{found[0]}'"
        msg = f"{what}; write them without quotes, or, {way_out}"
        raise DataError(msg)
    row = cells.to_pylist().index(other) + 1
    msg = (
        f"{where} has {other!r} in row {row}; expected numbers, as most of its cells are: correct "
        f"it, leave it empty, or, {way_out}"
    )
    raise DataError(msg)


def _named(cells: Any, datatype: str = "") -> tuple[list[str | None], NDArray[np.int64]]:
    """Return the names of the different cells, and each cell's place among them; -1 for null."""
    cells = _cells(cells)
    if not pa.types.is_dictionary(cells.type):
        cells = cells.dictionary_encode()
    # Each chunk has a dictionary of its own.
    cells = cells.unify_dictionaries().combine_chunks()
    names = [name_of(value, datatype) for value in cells.dictionary.to_pylist()]
    indices = cells.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    return names, np.asarray(indices, dtype=np.int64)


def _cells(cells: Any) -> Any:
    """Return a `pyarrow.ChunkedArray` of types that Arrow computes with."""
    if isinstance(cells, pa.Array):
        cells = pa.chunked_array([cells])
    # polars has its text in views, for which most functions of Arrow are missing.
    return cells.cast(pa.large_string()) if pa.types.is_string_view(cells.type) else cells


def _counted(names: Sequence[str | None], indices: NDArray[np.int64]) -> dict[str, int]:
    counts = np.bincount(indices[indices >= 0], minlength=len(names))
    rows_of: dict[str, int] = {}
    for name, count in zip(names, counts.tolist(), strict=True):
        if name is not None:
            rows_of[name] = rows_of.get(name, 0) + count
    return rows_of


def _codes(
    names: Sequence[str | None], indices: NDArray[np.int64], values: Sequence[str]
) -> Floats:
    code_of = {value: float(code) for code, value in enumerate(values)}
    found = [np.nan if name is None else code_of.get(name, UNKNOWN) for name in names]
    # The last stands for a null, whose place is -1.
    return np.array([*found, np.nan], dtype=np.float64)[indices]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
