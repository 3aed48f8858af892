"""An answer as columns: rows and predictions side by side, under names of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isotherm.client._prediction import Prediction
from isotherm.client.cli.failure import Failure
from isotherm.client.cli.model import Column, Model
from isotherm.client.cli.rows import Batch
from isotherm.v1.contract_pb2 import Contract, Target
from isotherm.v1.tensors import Array

_ROWS_AND_COLUMNS = 2
_DOUBLE_BYTES = 8


@dataclass(frozen=True, slots=True)
class Series:
    """One column; `cells` are numbers as they came, or texts, of which None is a missing value."""

    name: str
    label: str
    cells: Array | Sequence[str | None]

    @property
    def values(self) -> list[Any]:
        """The cells as they are written: each number in as many digits as it has."""
        cells = self.cells
        if not isinstance(cells, np.ndarray):
            return list(cells)
        if cells.dtype.kind == "f" and cells.dtype.itemsize < _DOUBLE_BYTES:
            # The shortest decimal that gives the float32 back, not its expansion to float64.
            return list(map(float, map(str, cells)))
        plain: list[Any] = cells.tolist()
        return plain


def series(
    model: Model, batch: Batch, prediction: Array | Prediction, *, features: bool = True
) -> list[Series]:
    """Return the features' columns, if they are wanted, and then the outputs'."""
    arrays = (
        dict(prediction)
        if isinstance(prediction, Prediction)
        else {_only_output(model): prediction}
    )
    for name, array in arrays.items():
        if array.shape[:1] != (len(batch),):
            rows = len(batch)
            msg = f"output '{name}' has shape {array.shape} for {rows} rows, which is no table"
            raise Failure(msg)
    inputs = [
        Series(feature.name, feature.label, batch.texts.get(index, values))
        for index, (feature, values) in enumerate(zip(model.features, batch.rows.T, strict=True))
        if features
    ]
    if model.contract is not None and model.contract.tensors.prediction in arrays:
        outputs = _by_contract(model.contract, arrays)
    else:
        outputs = _by_output(arrays)
    return list(_distinct([*inputs, *outputs]))


def lines(columns: Sequence[Series]) -> Iterator[tuple[Any, ...]]:
    """Return the cells row by row."""
    return zip(*(column.values for column in columns), strict=True)


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
        yield Series(target.name, column.label, _cells(arrays[tensors.prediction][:, index]))
        for bound, tensor in (("lower", tensors.lower), ("upper", tensors.upper)):
            if tensor in arrays:
                name = f"{prefix}{bound}"
                yield Series(name, f"{name} {coverage}", _cells(arrays[tensor][:, index]))
        index += 1


def _classes(target: Target, probabilities: Array) -> Iterator[Series]:
    likeliest = probabilities.argmax(axis=1)
    yield Series(target.name, target.name, [target.classes[index] for index in likeliest])
    for label, values in zip(target.classes, probabilities.T, strict=True):
        name = f"P({label})"
        yield Series(name, name, _cells(values))


def _by_output(arrays: dict[str, Array]) -> Iterator[Series]:
    for name, array in arrays.items():
        if array.ndim == 1:
            yield Series(name, name, _cells(array))
        elif array.ndim == _ROWS_AND_COLUMNS:
            for index in range(array.shape[1]):
                title = name if array.shape[1] == 1 else f"{name}[{index}]"
                yield Series(title, title, _cells(array[:, index]))
        else:
            msg = f"output '{name}' has shape {array.shape}, which is no table"
            raise Failure(msg)


def _cells(values: Array) -> Array | list[str | None]:
    if values.dtype.kind == "O":
        return [each.decode(errors="replace") for each in values]
    return values


def _distinct(columns: Sequence[Series]) -> Iterator[Series]:
    seen: set[str] = set()
    for column in columns:
        # A target may be called like a feature; JSON would drop one of them.
        name = column.name
        while name in seen:
            name = f"predicted_{name}"
        seen.add(name)
        yield Series(name, column.label, column.cells)
