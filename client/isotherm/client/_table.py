"""A table as a model's input: its columns, matched to the contract's features by name.

Tables are told by what their types can do. pandas, polars and pyarrow are never imported here:
whoever passes a table of theirs has loaded the package.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol, cast

import numpy as np

from isotherm.client import _category, _column
from isotherm.client._category import Lookup
from isotherm.client._errors import InvalidInputError
from isotherm.client._misfit import Misfit
from isotherm.v1.contract_pb2 import Contract, Feature
from isotherm.v1.tensors import Array

# Each has a first element, or none, that is no mapping: no need to look.
_PLAIN: Final = frozenset(
    {np.ndarray, bool, bytes, dict, float, int, memoryview, np.float32, np.float64, str}
)
_NAMES_SHOWN: Final = 50


class Table(Protocol):
    """A pandas or polars DataFrame, or a pyarrow Table or RecordBatch."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ...

    @property
    def columns(self) -> Any:
        """The columns, or their names."""
        ...


# Tuples: of a dataclass the import of the client would take five times as long for each.
class _Columns(NamedTuple):
    """A table that is open: its columns' names, a column by name, and that column's stated unit."""

    names: Sequence[Any]
    read: Callable[[str], Any]
    unit: Callable[[str, Any], object]
    remedy: str = "name the columns as the contract names its features"


class _Wanted(NamedTuple):
    """What a table is arranged by: a contract, and the codes of its categories by feature."""

    contract: Contract
    lookups: Mapping[str, Lookup]

    @property
    def names(self) -> list[str]:
        """The features' names, in the order of the input's columns."""
        return [feature.name for feature in self.contract.features]

    def read(self, name: str, column: Any) -> Array:
        """Return a column as the input has it."""
        lookup = self.lookups.get(name)
        if lookup is None:
            return _column.read(name, column)
        return _category.read(name, column, lookup)


class _Kind(NamedTuple):
    """A kind of table: how it is arranged by a contract, and how its owner makes an array of it."""

    arrange: Callable[[_Wanted, Any], Array]
    as_array: str
    # What its type has. Not the table itself: a DataFrame answers for its columns' names as well.
    marks: tuple[str, ...] = ()


def is_table(x: object) -> bool:
    """Whether `x` is a table, or a sequence of mappings, one a row: an empty one counts.

    A mapping is none: whether its keys name columns or input tensors, only the model's metadata
    tells.
    """
    return _kind(x) is not None


def arrange(
    contract: Contract, x: Any, *, model: str, lookups: Mapping[str, Lookup] | None = None
) -> Array:
    """Return the table as numbers, shape (rows, features), columns in the contract's order.

    Args:
        contract: It names the features, and their units.
        x: Whatever `is_table` takes; or a mapping of feature names to columns, where a scalar
            stands for each row. The order of columns does not matter, and others than the features
            are ignored.
        model: Its name, for errors.
        lookups: The codes of its categories, where they are known already.

    The type is the narrowest that holds all columns; nulls are NaN, and categories are codes.

    Raises:
        InvalidInputError: A feature has no column, or several; a column holds no numbers, or is
            stated in another unit than the contract's (Arrow: the field's metadata `unit`; pandas:
            `frame.attrs["units"]`, by column, or a column's own `attrs["unit"]`).
    """
    wanted = _Wanted(contract, _category.lookups(contract) if lookups is None else lookups)
    try:
        if isinstance(x, Mapping):
            return _mapping(wanted, x)
        kind = _kind(x)
        if kind is None:
            msg = f"a {type(x).__name__} is no table: pass an array"
            raise Misfit(msg)
        return kind.arrange(wanted, x)
    except Misfit as error:
        msg = f"model '{model}': {error}"
        raise InvalidInputError(msg, model=model) from error.__cause__


def refuse(x: object) -> None:
    """Raise Misfit for a table, whose columns nothing can be matched to without a contract.

    An empty sequence passes: it is an array as well.
    """
    kind = _kind(x)
    if kind is None or (kind is _ROWS and not x):
        return
    msg = (
        "it carries no contract, so a table's columns cannot be matched to its features: pass an "
        f"array with the columns in the model's order, such as {kind.as_array}"
    )
    raise Misfit(msg)


def _kind(x: object) -> _Kind | None:
    found = type(x)
    if found in _PLAIN:
        return None
    kind = _kind_of(cast("Hashable", found))
    if kind is not _ROWS:
        return kind
    rows = cast("Sequence[object]", x)
    return _ROWS if not rows or isinstance(rows[0], Mapping) else None


@lru_cache(maxsize=64)
def _kind_of(found: Any) -> _Kind | None:
    if issubclass(found, Sequence):
        return _ROWS
    return next(
        (kind for kind in _FRAMES if all(hasattr(found, mark) for mark in kind.marks)), None
    )


def _rows(wanted: _Wanted, rows: Sequence[Any]) -> Array:
    names = wanted.names
    try:
        values = [[row[name] for name in names] for row in rows]
    except (LookupError, TypeError):
        _check_rows(names, rows)
        raise
    if not wanted.lookups:
        array = _matrix(values)
        if array.ndim == _column.ROWS_AND_COLUMNS and array.dtype.kind in _column.NUMBERS:
            return array
    columns = zip(*values, strict=True) if rows else ((),) * len(names)
    return _column.joined(names, [wanted.read(*pair) for pair in zip(names, columns, strict=True)])


def _matrix(values: Sequence[Sequence[Any]]) -> Array:
    try:
        return np.array(values)
    except ValueError:
        # Some value is a list: the columns, one by one, tell which.
        return np.empty(0)


def _check_rows(names: Sequence[str], rows: Iterable[Any]) -> None:
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            msg = f"row {number} is a {type(row).__name__}, expected a dict like those before it"
            raise Misfit(msg)
        missing = [name for name in names if name not in row]
        if missing:
            msg = (
                f"row {number} has no {_listed(missing)}, it has {_listed(row)}: every row needs "
                "every feature of the contract; None stands for a value that is not known"
            )
            raise Misfit(msg)


def _mapping(wanted: _Wanted, mapping: Mapping[str, Any]) -> Array:
    tensor = wanted.contract.tensors.input
    remedy = f"pass the features by name, or an array for the input '{tensor}'"

    return _columns(wanted, _Columns([*mapping], mapping.__getitem__, _own_unit, remedy))


def _arrow(wanted: _Wanted, table: Any) -> Array:
    names = table.column_names

    def unit(name: str, _column: Any) -> object:
        metadata = table.schema.field(names.index(name)).metadata or {}
        return metadata.get(b"unit", b"").decode(errors="replace")

    return _columns(wanted, _Columns(names, table.column, unit))


def _polars(wanted: _Wanted, frame: Any) -> Array:
    return _columns(wanted, _Columns(frame.columns, frame.get_column, _no_unit))


def _pandas(wanted: _Wanted, frame: Any) -> Array:
    attributes = frame.attrs
    units = attributes.get("units")

    def unit(name: str, column: Any) -> object:
        if isinstance(units, Mapping) and name in units:
            return units[name]
        # A column inherits what is said of the whole frame, which may be about another column.
        return None if "unit" in attributes else _own_unit(name, column)

    return _columns(wanted, _Columns([*frame.columns], frame.__getitem__, unit))


def _lazy(_wanted: _Wanted, frame: object) -> Array:
    msg = f"a {type(frame).__name__} has no rows yet: pass x.collect()"
    raise Misfit(msg)


def _columns(wanted: _Wanted, columns: _Columns) -> Array:
    names = wanted.names
    missing = [name for name in names if name not in columns.names]
    if missing:
        msg = (
            f"no column{'s' * (len(missing) > 1)} {_listed(missing)}, found "
            f"{_listed(columns.names)}: {columns.remedy}"
        )
        raise Misfit(msg)
    twice = [name for name in names if columns.names.count(name) > 1]
    if twice:
        msg = f"more than one column of the name {_listed(twice)}: rename or drop all but one"
        raise Misfit(msg)
    return _column.joined(
        names, [_read(wanted, columns, each) for each in wanted.contract.features]
    )


def _read(wanted: _Wanted, columns: _Columns, feature: Feature) -> Array:
    column = columns.read(feature.name)
    _check_unit(feature, columns.unit(feature.name, column))
    return wanted.read(feature.name, column)


def _check_unit(feature: Feature, stated: object) -> None:
    found, expected = str(stated or "").strip(), feature.unit.strip()
    if found and expected and found != expected:
        msg = (
            f"column '{feature.name}' is in '{found}', the model takes it in '{expected}': convert "
            "the column, or correct its unit"
        )
        raise Misfit(msg)


def _own_unit(_name: str, column: Any) -> object:
    attributes = getattr(column, "attrs", None)
    return attributes.get("unit") if isinstance(attributes, Mapping) else None


def _no_unit(_name: str, _column: Any) -> object:
    return None


def _listed(names: Iterable[Any]) -> str:
    shown = [repr(name) for name in names]
    more = len(shown) - _NAMES_SHOWN
    tail = f" and {more} more" if more > 0 else ""
    return f"{', '.join(shown[:_NAMES_SHOWN]) or 'none'}{tail}"


_ROWS: Final = _Kind(_rows, "[[row[name] for name in names] for row in x]")
_FRAMES: Final = (
    _Kind(_arrow, "x.to_pandas().to_numpy()", ("column_names", "schema", "column")),
    _Kind(_polars, "x.to_numpy()", ("get_column", "columns")),
    _Kind(_pandas, "x.to_numpy()", ("iloc", "columns", "attrs")),
    _Kind(_lazy, "x.collect().to_numpy()", ("collect_schema", "lazy")),
)
