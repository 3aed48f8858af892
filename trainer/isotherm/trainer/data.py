"""The training table: checked numbers from a built-in dataset, or from a CSV or Parquet file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from isotherm.trainer.config import DataConfig
from isotherm.trainer.errors import DataError

Floats = NDArray[np.float64]

# Leaving one row out must leave two, or there is nothing to fit a line to.
MIN_ROWS: Final = 3

# The readings of the seed: Celsius, and the same days on a thermometer of unknown scale.
_T_C: Final = (0.5, 14.0, 15.0, 28.0, 11.0, 8.0, 3.0, -4.0, 6.0, 13.0, 21.0)
_T_U: Final = (35.7, 55.9, 58.2, 81.9, 56.3, 48.9, 33.9, 21.8, 48.4, 60.4, 68.4)

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


def read(config: DataConfig) -> Table:
    """Read and check the table that `config` names."""
    if config.file is not None:
        source, content = str(config.file), _content(config.file)
        read_columns = _parquet if config.file.suffix.lower() == ".parquet" else _csv
        columns = read_columns(source, content)
        features, targets, units = config.features, config.targets, config.units
    else:
        source, content = f"dataset '{config.dataset}'", _built_in(config.dataset)
        columns = _csv(source, content)
        features, targets, units = ("t_u",), ("t_c",), {"t_u": "degF", "t_c": "degC"}
        units |= config.units
    _check_names(source, columns.column_names, features, targets)
    _check_units(source, units, (*features, *targets))
    _check_rows(source, columns.num_rows)
    return Table(
        features=_describe(columns, features, units),
        targets=_describe(columns, targets, units),
        x=_numbers(source, columns, features),
        y=_numbers(source, columns, targets),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _built_in(name: str | None) -> bytes:
    if name != "thermometer":
        msg = f"there is no built-in dataset '{name}'; use `thermometer`, or `--data FILE`"
        raise DataError(msg)
    lines = (f"{t_u},{t_c}\n" for t_u, t_c in zip(_T_U, _T_C, strict=True))
    return ("t_u,t_c\n" + "".join(lines)).encode()


def _content(path: Path) -> bytes:
    if path.suffix.lower() not in {".csv", ".parquet"}:
        msg = f"cannot tell the format of '{path}'; expected a name ending in .csv or .parquet"
        raise DataError(msg)
    try:
        content = path.read_bytes()
    except OSError as error:
        msg = f"cannot read '{path}': {error.strerror}; expected a CSV or Parquet file"
        raise DataError(msg) from error
    if not content.strip():
        msg = f"'{path}' is empty; expected a header and at least {MIN_ROWS} rows"
        raise DataError(msg)
    return content


def _csv(source: str, content: bytes) -> Any:
    try:
        return pyarrow.csv.read_csv(pa.BufferReader(content))
    except pa.ArrowException as error:
        msg = f"'{source}' is not a CSV table with a header: {_first_line(error)}"
        raise DataError(msg) from error


def _parquet(source: str, content: bytes) -> Any:
    try:
        return pyarrow.parquet.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        msg = f"'{source}' is not a Parquet table: {_first_line(error)}"
        raise DataError(msg) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _check_names(
    source: str, found: Sequence[str], features: Sequence[str], targets: Sequence[str]
) -> None:
    listing = ", ".join(found)
    for kind, names in (("features", features), ("targets", targets)):
        if not names:
            msg = f"no {kind} given; choose --{kind} from the columns of '{source}': {listing}"
            raise DataError(msg)
    wanted = (*features, *targets)
    for name in wanted:
        if wanted.count(name) > 1:
            msg = f"column '{name}' is asked for twice; a column is one feature or one target"
            raise DataError(msg)
        if name not in found:
            msg = f"'{source}' has no column '{name}'; its columns are: {listing}"
            raise DataError(msg)
        if found.count(name) > 1:
            msg = f"'{source}' has more than one column '{name}'; rename one of them"
            raise DataError(msg)


def _check_units(source: str, units: Mapping[str, str], names: Sequence[str]) -> None:
    for name in units:
        if name not in names:
            msg = f"data.units names '{name}', which is no feature or target of '{source}'"
            raise DataError(msg)


def _check_rows(source: str, rows: int) -> None:
    if rows < MIN_ROWS:
        msg = (
            f"'{source}' has {rows} row{'' if rows == 1 else 's'} below its header; "
            f"at least {MIN_ROWS} are needed to compare models by leaving one out"
        )
        raise DataError(msg)


def _describe(columns: Any, names: Sequence[str], units: Mapping[str, str]) -> tuple[Column, ...]:
    return tuple(
        Column(
            name=name,
            unit=units.get(name, ""),
            datatype=_DATATYPES.get(str(columns.schema.field(name).type), ""),
        )
        for name in names
    )


def _numbers(source: str, columns: Any, names: Sequence[str]) -> Floats:
    return np.column_stack([_column(source, name, columns.column(name)) for name in names])


def _column(source: str, name: str, cells: Any) -> Floats:
    where = f"column '{name}' of '{source}'"
    if not _is_number(cells.type):
        raise DataError(_no_number(where, cells))
    if cells.null_count:
        row = cells.is_null().to_pylist().index(True) + 1
        msg = (
            f"{where} has {cells.null_count} empty cell{'' if cells.null_count == 1 else 's'}, "
            f"the first in row {row}; fill or remove them"
        )
        raise DataError(msg)
    # Values beyond float32 become infinite here, and are refused with the rest.
    with np.errstate(over="ignore"):
        values = cells.cast(pa.float64(), safe=False).to_numpy().astype(np.float32)
    finite = np.isfinite(values)
    if not finite.all():
        row = int(np.argmin(finite))
        msg = f"{where} has {cells[row].as_py()} in row {row + 1}; expected finite 32-bit numbers"
        raise DataError(msg)
    if (values == values[0]).all():
        msg = f"{where} is constant ({values[0]:g} in every row); remove it: it teaches nothing"
        raise DataError(msg)
    return np.asarray(values, dtype=np.float64)


def _is_number(kind: Any) -> bool:
    # A column whose cells are all empty has the type null, and gets the sentence for empty cells.
    return str(kind) in _DATATYPES or pa.types.is_decimal(kind) or pa.types.is_null(kind)


def _no_number(where: str, cells: Any) -> str:
    for row, cell in enumerate(cells.to_pylist(), start=1):
        try:
            float(cell)
        except (TypeError, ValueError):
            return f"{where} has {cell!r} in row {row}; expected numbers"
    return f"{where} has type {cells.type}; expected numbers"
