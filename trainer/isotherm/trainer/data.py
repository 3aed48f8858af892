"""The training table: checked numbers and labels, from whatever holds named columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isotherm.trainer import columns, reading, sources, splits, tasks, transform, weights
from isotherm.trainer.columns import Column, Floats
from isotherm.trainer.config import DataConfig, Task, in_memory
from isotherm.trainer.errors import DataError
from isotherm.trainer.scaling import Scaling
from isotherm.trainer.sources import Source
from isotherm.trainer.splits import RANDOM, Split

__all__ = ["MIN_ROWS", "Column", "Floats", "OnSource", "Table", "choose", "read", "source", "table"]

OnSource = Callable[[Source], None]

# Leaving one row out must leave two, or there is nothing to fit a line to.
MIN_ROWS: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Table:
    """Checked numbers and codes: at least `MIN_ROWS` rows, no constant column, no infinity.

    The values are rounded to float32, which is what the served graph takes: a training row then
    lies inside the ranges that the contract states.

    Attributes:
        x: shape (rows, features), in the columns' units; of a category, its code (-1: unknown);
            NaN where a cell is missing, as the columns allow.
        y: shape (rows, targets), in the columns' units; of a label, the index of its class.
        sha256: of the bytes that the table was read from, in hexadecimal.
        classes: the classes of each target, none for a number; empty when all are numbers.
        weights: shape (rows,), what each row counts, above 0: rows that count nothing are left out
            when the table is read. None where all count alike.
        weight_column: what the weights were read from, if there are any.
        split: by what rows are left out together.
        total: rows of the table that these are a sample of; None: these are all.
    """

    features: tuple[Column, ...]
    targets: tuple[Column, ...]
    x: Floats
    y: Floats
    sha256: str
    classes: tuple[tuple[str, ...], ...] = ()
    weights: Floats | None = None
    weight_column: str = ""
    split: Split = RANDOM
    total: int | None = None

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.x)

    @property
    def spread(self) -> Floats:
        """The deviation of each target in its unit, shape (targets,); 1 where it is constant."""
        return Scaling.of(self.y, self.weights).scale

    def take(self, chosen: NDArray[np.bool_]) -> Table:
        """Return the table of some of its rows, chosen by a mask of shape (rows,)."""
        if chosen.all():
            return self
        return replace(
            self,
            x=self.x[chosen],
            y=self.y[chosen],
            weights=None if self.weights is None else self.weights[chosen],
            split=self.split.take(chosen),
        )


def read(config: DataConfig, on_source: OnSource | None = None) -> Table:
    """Read and check the table that `config` names; tell all its columns once it is checked."""
    found = source(config)
    if config.file is None:
        units = {"t_u": "degF", "t_c": "degC", **config.units}
        own = {"features": ("t_u",), "targets": ("t_c",), "units": units}
        config = config.model_copy(update=own)
    table = choose(found, config)
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
    **settings: Any,
) -> Table:
    """Return the checked table of columns that the caller holds.

    Args:
        value: whatever exports an Arrow stream (pyarrow, pandas, polars ...), or a dict of columns.
        features: names of the columns in.
        targets: names of the columns out.
        units: by column name.
        task: whether the targets are numbers or labels; `tasks` has the rule of `auto`.
        **settings: more of `[data]`, such as `weight="count"` or `time="day"`.

    Raises:
        ConfigError: a setting cannot be used.
        DataError: it cannot be trained on.
    """
    chosen = {"features": tuple(features), "targets": tuple(targets), "units": dict(units or {})}
    config = in_memory({**chosen, "task": task, **settings})
    return choose(sources.of_memory(value), config)


def check_names(found: Source, config: DataConfig) -> None:
    """Raise DataError where the settings name a column that a source has not, or one twice."""
    _check_names(found, config.features, config.targets)
    _check_parts(found, config)
    _check_units(found, config.units, (*config.features, *config.targets))
    reading.check_names(found.name, config.features, config)


def choose(found: Source, config: DataConfig) -> Table:
    """Check the chosen columns of a source; return them as the training table."""
    features, targets, units = config.features, config.targets, config.units
    check_names(found, config)
    found, counts = _weighed(found, config.weight)
    _check_rows(found)
    x, described = zip(*(_feature(found, name, config) for name in features), strict=True)
    y, classes = [], []
    for name in targets:
        values, names = _target(found, name, config)
        y.append(values)
        classes.append(names)
    return Table(
        features=described,
        targets=tuple(_describe(found, targets, units, config.transforms)),
        x=np.column_stack(x),
        y=np.column_stack(y),
        sha256=found.sha256,
        classes=tuple(classes) if any(classes) else (),
        weights=counts,
        weight_column=config.weight or "",
        split=_split(found, config),
    )


def _feature(found: Source, name: str, config: DataConfig) -> tuple[Floats, Column]:
    """Return a feature's values, and what it is taken for."""
    cells, unit = found.columns.column(name), config.units.get(name, "")
    return reading.feature(_where(found, name), name, unit, cells, config)


def _target(found: Source, name: str, config: DataConfig) -> tuple[Floats, tuple[str, ...]]:
    """Return a target's values and its classes; what is learned on another scale is a number."""
    where, cells, scale = (
        _where(found, name),
        found.columns.column(name),
        config.transforms.get(name),
    )
    if scale is None:
        return tasks.read(where, cells, config.task)
    if config.task in {"binary", "multiclass"}:
        msg = f"{where} is to be learned as {scale}, but the task is {config.task}; leave one out"
        raise DataError(msg)
    values = columns.number(where, cells)
    transform.check(where, values, scale)
    return values, ()


def _weighed(found: Source, name: str | None) -> tuple[Source, Floats | None]:
    """Return the rows that count, and what they count."""
    if name is None:
        return found, None
    values = weights.read(_where(found, name), found.columns.column(name))
    counting = values > 0
    if counting.all():
        return found, values
    kept = found.columns.filter(pa.array(counting))
    rest = f"{found.name} without its {int((~counting).sum())} rows of weight 0"
    return replace(found, name=rest, columns=kept), values[counting]


def _split(found: Source, config: DataConfig) -> Split:
    name = config.time or config.group
    if name is None:
        return RANDOM
    return splits.read(_where(found, name), found.columns.column(name), config.split, name)


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


def _check_parts(found: Source, config: DataConfig) -> None:
    taken = dict.fromkeys(config.features, "feature") | dict.fromkeys(config.targets, "target")
    for name, part in config.parts.items():
        if name not in found.columns.column_names:
            listing = ", ".join(found.columns.column_names)
            msg = f"{found.name} has no column '{name}' for {part}; its columns are: {listing}"
            raise DataError(msg)
        if name in taken:
            msg = (
                f"column '{name}' is both a {taken[name]} and the {part} of its row; choose one, "
                "or copy it under another name"
            )
            raise DataError(msg)
    for name in config.transforms:
        if name not in config.targets:
            msg = f"data.transforms names '{name}', which is no target of {found.name}"
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


def _describe(
    found: Source,
    names: Sequence[str],
    units: Mapping[str, str],
    transforms: Mapping[str, str] = MappingProxyType({}),
) -> Iterable[Column]:
    for name in names:
        yield Column(
            name=name,
            unit=units.get(name, ""),
            datatype=columns.datatype(found.columns.schema.field(name).type),
            transform=transforms.get(name, ""),
        )
