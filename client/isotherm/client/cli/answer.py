"""An answer as a table: rows and predictions side by side, as text, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from isotherm.client._prediction import Prediction
from isotherm.client.cli.failure import Failure
from isotherm.client.cli.model import Column, Model
from isotherm.client.cli.rows import Rows
from isotherm.v1.contract_pb2 import Contract, Target
from isotherm.v1.tensors import Array

_ROWS_AND_COLUMNS = 2


@dataclass(frozen=True, slots=True)
class Series:
    """One column of the table."""

    name: str
    label: str
    values: Sequence[Any]


def series(model: Model, rows: Rows, prediction: Array | Prediction) -> list[Series]:
    """Return the features' columns and then the outputs', under names of their own."""
    arrays = (
        dict(prediction)
        if isinstance(prediction, Prediction)
        else {_only_output(model): prediction}
    )
    inputs = [
        Series(feature.name, feature.label, values.tolist())
        for feature, values in zip(model.features, rows.T, strict=True)
    ]
    if model.contract is not None and model.contract.tensors.prediction in arrays:
        outputs = _by_contract(model.contract, arrays)
    else:
        outputs = _by_output(arrays)
    return list(_distinct([*inputs, *outputs]))


def as_table(columns: Sequence[Series]) -> Table:
    """Return a table for people: numbers in six digits, units in the heads."""
    table = Table()
    for column in columns:
        table.add_column(column.label, justify="right")
    for row in _rows(columns):
        table.add_row(*(f"{cell:.6g}" if isinstance(cell, float) else str(cell) for cell in row))
    return table


def as_csv(columns: Sequence[Series]) -> str:
    """Return CSV with a line of names; numbers in as many digits as they have."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(column.name for column in columns)
    writer.writerows(_rows(columns))
    return text.getvalue()


def as_json(columns: Sequence[Series]) -> str:
    """Return a JSON array of one object a row; NaN and infinities, which JSON lacks, are null."""
    names = [column.name for column in columns]
    objects = [dict(zip(names, map(_json_value, row), strict=True)) for row in _rows(columns)]
    return json.dumps(objects, indent=2) + "\n"


def _only_output(model: Model) -> str:
    if model.contract is not None:
        return model.contract.tensors.prediction
    return model.outputs[0] if model.outputs else "output"


def _by_contract(contract: Contract, arrays: dict[str, Array]) -> Iterator[Series]:
    tensors = contract.tensors
    coverage = f"{contract.interval.coverage:.0%}"
    several = len(contract.targets) > 1
    index = 0
    for target in contract.targets:
        if target.classes:
            stop = index + len(target.classes)
            yield from _classes(target, arrays[tensors.prediction][:, index:stop])
            index = stop
            continue
        column = Column(target.name, target.unit)
        prefix = f"{target.name}_" if several else ""
        yield Series(target.name, column.label, _numbers(arrays[tensors.prediction][:, index]))
        for bound, tensor in (("lower", tensors.lower), ("upper", tensors.upper)):
            if tensor in arrays:
                name = f"{prefix}{bound}"
                yield Series(name, f"{name} {coverage}", _numbers(arrays[tensor][:, index]))
        index += 1


def _classes(target: Target, probabilities: Array) -> Iterator[Series]:
    likeliest = probabilities.argmax(axis=1)
    yield Series(target.name, target.name, [target.classes[index] for index in likeliest])
    for label, values in zip(target.classes, probabilities.T, strict=True):
        name = f"P({label})"
        yield Series(name, name, _numbers(values))


def _by_output(arrays: dict[str, Array]) -> Iterator[Series]:
    for name, array in arrays.items():
        if array.ndim == 1:
            yield Series(name, name, _numbers(array))
        elif array.ndim == _ROWS_AND_COLUMNS:
            for index in range(array.shape[1]):
                title = name if array.shape[1] == 1 else f"{name}[{index}]"
                yield Series(title, title, _numbers(array[:, index]))
        else:
            msg = f"output '{name}' has shape {array.shape}, which is no table"
            raise Failure(msg)


def _numbers(values: Array) -> list[Any]:
    if values.dtype.kind == "f":
        # The shortest decimal that gives the float32 back, not its expansion to float64.
        return [float(str(value)) for value in values]
    if values.dtype.kind == "O":
        return [each.decode(errors="replace") for each in values]
    plain: list[Any] = values.tolist()
    return plain


def _distinct(columns: Sequence[Series]) -> Iterator[Series]:
    seen: set[str] = set()
    for column in columns:
        # A target may be called like a feature; JSON would drop one of them.
        name = column.name
        while name in seen:
            name = f"predicted_{name}"
        seen.add(name)
        yield Series(name, column.label, column.values)


def _rows(columns: Sequence[Series]) -> Iterator[tuple[Any, ...]]:
    return zip(*(column.values for column in columns), strict=True)


def _json_value(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
