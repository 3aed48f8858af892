"""Reading: a feature's cells as the raw numbers and codes that a model takes, and its column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from isotherm.trainer import categories, columns
from isotherm.trainer.columns import Column, Floats, Missing
from isotherm.trainer.config import ColumnsConfig
from isotherm.trainer.errors import DataError


def feature(
    where: str, name: str, unit: str, cells: Any, config: ColumnsConfig
) -> tuple[Floats, Column]:
    """Return a feature's values, shape (rows,): numbers, or codes; NaN is missing.

    Args:
        where: the column, as an error begins.
        name: of the column.
        unit: of the column.
        cells: a `pyarrow.ChunkedArray`.
        config: what it is taken for, and what becomes of a missing cell.

    Raises:
        DataError: it cannot be learned from.
    """
    datatype = columns.datatype(cells.type)
    if categories.is_category(name, cells.type, config):
        # Whoever made categories of them, or named them, means it.
        if name not in config.categories and not pa.types.is_dictionary(cells.type):
            categories.check_text(where, cells)
        codes, kept = categories.read(where, cells, config)
        unknown = not bool((codes >= 0).all())
        return codes, category(name, unit, datatype, kept, config, unknown=unknown)
    if pa.types.is_temporal(cells.type):
        msg = (
            f"{where} has type {cells.type}; expected numbers, or a category: name it in "
            "data.categories (--categories), encode it as numbers, or leave it out"
        )
        raise DataError(msg)
    values = columns.numbers(where, cells)
    absent = np.isnan(values)
    first = int(np.argmax(absent)) + 1
    policy = missing(where, name, int(absent.sum()), len(values), config, first=first)
    present = values[~absent]
    if policy != "indicator" and (present == present[0]).all():
        msg = f"{where} is constant ({present[0]:g} in every row); remove it: it teaches nothing"
        raise DataError(msg)
    return values, Column(name=name, unit=unit, datatype=datatype, missing=policy)


def category(
    name: str,
    unit: str,
    datatype: str,
    values: tuple[str, ...],
    config: ColumnsConfig,
    *,
    unknown: bool,
) -> Column:
    """Return the column of a category with these values, and with unknown ones or not."""
    return Column(
        name=name,
        unit=unit,
        datatype=datatype,
        categories=values,
        missing="unknown",
        embedding=categories.embedding_width(name, len(values), config),
        unknown=unknown,
    )


def missing(
    where: str, name: str, absent: int, rows: int, config: ColumnsConfig, *, first: int = 0
) -> Missing:
    """Return what becomes of a missing number in a column that lacks `absent` of its `rows`.

    One policy for all is for the columns that have gaps: a gap in another one, once the model is
    served, is a fault that somebody wants to hear of. Columns that are named may have none. The
    `first` empty cell's row, counted from 1, is told where it is known.

    Raises:
        DataError: the column has gaps and nobody said what to do with them, or nothing but gaps; or
            it has none that an indicator could learn from.
    """
    chosen = config.missing
    named = isinstance(chosen, Mapping)
    policy = chosen.get(name) if isinstance(chosen, Mapping) else chosen
    cells = f"{absent} empty cell{'' if absent == 1 else 's'}"
    if rows and absent == rows:
        msg = f"{where} has {cells}, which is all of them; leave the column out"
        raise DataError(msg)
    if absent and policy in {None, "refuse"}:
        msg = (
            f"{where} has {cells}{f', the first in row {first}' if first else ''}; fill or remove "
            "them, or choose data.missing (--missing): mean, or indicator, which also tells the "
            "model that a cell was empty"
        )
        raise DataError(msg)
    if not absent and named and policy == "indicator":
        msg = f"{where} has no empty cell, so there is nothing to learn an indicator from; use mean"
        raise DataError(msg)
    return policy or "refuse" if absent or named else "refuse"


def check_names(found: str, names: Sequence[str], config: ColumnsConfig) -> None:
    """Raise DataError where the settings name a column that is no feature."""
    settings: dict[str, Mapping[str, str]] = {"categories": config.categories}
    if isinstance(config.missing, Mapping):
        settings["missing"] = config.missing
    for setting, named in settings.items():
        for name in named:
            if name not in names:
                msg = f"data.{setting} names '{name}', which is no feature of {found}"
                raise DataError(msg)
