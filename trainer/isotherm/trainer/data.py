"""The training table: checked numbers and labels, from whatever holds named columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from isotherm.trainer import columns, sources, tasks
from isotherm.trainer.columns import Floats
from isotherm.trainer.config import DataConfig, Task
from isotherm.trainer.errors import DataError
from isotherm.trainer.sources import Source

__all__ = ["MIN_ROWS", "Column", "Floats", "OnSource", "Table", "choose", "read", "source", "table"]

OnSource = Callable[[Source], None]

# Leaving one row out must leave two, or there is nothing to fit a line to.
MIN_ROWS: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column of the table: its name, its unit ("" when unknown) and its type there."""

    name: str
    unit: str
    datatype: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Table:
    """Checked numbers: finite, at least `MIN_ROWS` rows, no constant column.

    The values are rounded to float32, which is what the served graph takes: a training row then
    lies inside the ranges that the contract states.

    Attributes:
        x: shape (rows, features), in the columns' units.
        y: shape (rows, targets), in the columns' units; of a label, the index of its class.
        sha256: of the bytes that the table was read from, in hexadecimal.
        classes: the classes of each target, none for a number; empty when all are numbers.
    """

    features: tuple[Column, ...]
    targets: tuple[Column, ...]
    x: Floats
    y: Floats
    sha256: str
    classes: tuple[tuple[str, ...], ...] = ()

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.x)


def read(config: DataConfig, on_source: OnSource | None = None) -> Table:
    """Read and check the table that `config` names; tell all its columns once it is checked."""
    found = source(config)
    features, targets, units = config.features, config.targets, config.units
    if config.file is None:
        features, targets, units = ("t_u",), ("t_c",), {"t_u": "degF", "t_c": "degC", **units}
    table = choose(found, features=features, targets=targets, units=units, task=config.task)
    if on_source:
        on_source(found)
    return table


def source(config: DataConfig) -> Source:
    """Return all columns of what `config` names, as they are there."""
    return sources.of_file(config.file) if config.file else sources.built_in(config.dataset)


def table(
    value: Any,
    *,
    features: Sequence[str],
    targets: Sequence[str],
    units: Mapping[str, str] | None = None,
    task: Task = "auto",
) -> Table:
    """Return the checked table of columns that the caller holds.

    Args:
        value: whatever exports an Arrow stream (pyarrow, pandas, polars ...), or a dict of columns.
        features: names of the columns in.
        targets: names of the columns out.
        units: by column name.
        task: whether the targets are numbers or labels; `tasks` has the rule of `auto`.

    Raises:
        DataError: it cannot be trained on.
    """
    found = sources.of_memory(value)
    return choose(found, features=features, targets=targets, units=units or {}, task=task)


def choose(
    found: Source,
    *,
    features: Sequence[str],
    targets: Sequence[str],
    units: Mapping[str, str],
    task: Task = "auto",
) -> Table:
    """Check the chosen columns of a source; return them as the training table."""
    _check_names(found, features, targets)
    _check_units(found, units, (*features, *targets))
    _check_rows(found)
    x = [columns.number(_where(found, name), found.columns.column(name)) for name in features]
    y, classes = [], []
    for name in targets:
        values, names = tasks.read(_where(found, name), found.columns.column(name), task)
        y.append(values)
        classes.append(names)
    return Table(
        features=tuple(_describe(found, features, units)),
        targets=tuple(_describe(found, targets, units)),
        x=np.column_stack(x),
        y=np.column_stack(y),
        sha256=found.sha256,
        classes=tuple(classes) if any(classes) else (),
    )


def _where(found: Source, name: str) -> str:
    return f"column '{name}' of {found.name}"


def _check_names(found: Source, features: Sequence[str], targets: Sequence[str]) -> None:
    names = found.columns.column_names
    listing = ", ".join(names)
    for kind, chosen in (("features", features), ("targets", targets)):
        if not chosen:
            msg = f"no {kind} given; choose --{kind} from the columns of {found.name}: {listing}"
            raise DataError(msg)
    wanted = (*features, *targets)
    for name in wanted:
        if wanted.count(name) > 1:
            msg = f"column '{name}' is asked for twice; a column is one feature or one target"
            raise DataError(msg)
        if name not in names:
            msg = f"{found.name} has no column '{name}'; its columns are: {listing}"
            raise DataError(msg)
        if names.count(name) > 1:
            msg = f"{found.name} has more than one column '{name}'; rename one of them"
            raise DataError(msg)


def _check_units(found: Source, units: Mapping[str, str], names: Sequence[str]) -> None:
    for name in units:
        if name not in names:
            msg = f"data.units names '{name}', which is no feature or target of {found.name}"
            raise DataError(msg)


def _check_rows(found: Source) -> None:
    rows = found.columns.num_rows
    if rows < MIN_ROWS:
        msg = (
            f"{found.name} has {rows} row{'' if rows == 1 else 's'} below its header; "
            f"at least {MIN_ROWS} are needed to compare models by leaving one out"
        )
        raise DataError(msg)


def _describe(found: Source, names: Sequence[str], units: Mapping[str, str]) -> Iterable[Column]:
    for name in names:
        kind = found.columns.schema.field(name).type
        yield Column(name=name, unit=units.get(name, ""), datatype=columns.datatype(kind))
