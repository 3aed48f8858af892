"""The task: whether a target is a number to be estimated, or a label to be told apart.

`auto` decides by the column alone. Text, categories and booleans are labels. So is a column of
whole numbers with exactly two different ones, such as 0 and 1. Everything else is a number:
counts, grades and years look like codes of classes, and `--task multiclass` says that they are.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa

from isotherm.trainer import columns
from isotherm.trainer.columns import Floats
from isotherm.trainer.config import Task
from isotherm.trainer.errors import DataError

_PAIR: Final = 2


def read(where: str, cells: Any, task: Task) -> tuple[Floats, tuple[str, ...]]:
    """Return a target's values, shape (rows,), and its classes; a number has none.

    Args:
        where: the column, as an error begins.
        cells: a `pyarrow.ChunkedArray`.
        task: what the caller says; `auto` asks the column.
    """
    if task == "regression" or (task == "auto" and not is_label(cells)):
        return columns.number(where, cells), ()
    values, classes = columns.label(where, cells)
    if task == "binary" and len(classes) != _PAIR:
        msg = (
            f"{where} has {len(classes)} different values, and --task binary needs two: "
            f"{', '.join(classes[:5])}{' ...' if len(classes) > 5 else ''}"  # noqa: PLR2004
        )
        raise DataError(msg)
    if len(classes) < _PAIR:
        msg = f"{where} is constant ('{classes[0]}' in every row); it teaches nothing"
        raise DataError(msg)
    _check_counts(where, values, classes)
    return values, classes


def is_label(cells: Any) -> bool:
    """Whether `auto` takes a column's values for classes."""
    kind = cells.type
    if columns.is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_dictionary(kind):
        return True
    if not pa.types.is_integer(kind):
        return False
    # A table of two or three rows has no more than two numbers by chance.
    return len(cells) > 2 * _PAIR and len(cells.drop_null().unique()) == _PAIR


def _check_counts(where: str, values: Floats, classes: tuple[str, ...]) -> None:
    counts = np.bincount(values.astype(np.int64), minlength=len(classes))
    if (counts == 1).any():
        rare = classes[int(np.argmin(counts))]
        msg = (
            f"{where} has class '{rare}' in one row only: left out, it would be a class never "
            "seen in training; give it a second row, merge it, or remove it"
        )
        raise DataError(msg)
