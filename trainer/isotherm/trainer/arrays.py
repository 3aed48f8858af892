"""Arrays: what a caller holds in memory, as the checked table that training takes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from isotherm.trainer.data import MIN_ROWS, Column, Floats, Table
from isotherm.trainer.errors import DataError

_DATATYPES: Final = {"b": "BOOL", "i": "INT", "u": "UINT", "f": "FP"}


def table(
    x: Any,
    y: Any,
    *,
    features: Sequence[str] = (),
    targets: Sequence[str] = (),
    units: Mapping[str, str] | None = None,
    labels: bool | None = None,
) -> Table:
    """Return a table of arrays, or of whatever numpy makes arrays of.

    Args:
        x: shape (rows, features), or (rows,) for one feature.
        y: shape (rows, targets), or (rows,) for one target.
        features: their names; those of `x.columns` if it has any, else x0, x1 ...
        targets: likewise.
        units: by column name.
        labels: whether the target is a label. None: it is if it holds text or booleans.

    Raises:
        DataError: the arrays are no table to train on.
    """
    feature_names = _names(x, features, "x")
    target_names = _names(y, targets, "y")
    inputs, answers = numbers(x, "x"), np.asarray(y)
    answers = answers[:, np.newaxis] if answers.ndim == 1 else answers
    if len(inputs) != len(answers):
        msg = f"x has {len(inputs)} rows and y has {len(answers)}; expected one y for each x"
        raise DataError(msg)
    if len(inputs) < MIN_ROWS:
        msg = f"x has {len(inputs)} rows; at least {MIN_ROWS} are needed"
        raise DataError(msg)
    labels = answers.dtype.kind not in "iuf" if labels is None else labels
    values, classes = _classes(answers) if labels else (numbers(answers, "y"), ())
    _check_constant(inputs, feature_names)
    if not labels:
        _check_constant(values, target_names)
    return Table(
        features=_columns(feature_names, np.asarray(x).dtype, units or {}),
        targets=_columns(target_names, answers.dtype, units or {}),
        x=inputs,
        y=values,
        sha256=hashlib.sha256(inputs.tobytes() + values.tobytes()).hexdigest(),
        classes=classes,
    )


def numbers(values: Any, name: str) -> Floats:
    """Return finite numbers of shape (rows, columns), rounded to the float32 that is served."""
    try:
        with np.errstate(over="ignore"):
            array = np.asarray(values).astype(np.float32).astype(np.float64)
    except (TypeError, ValueError) as error:
        msg = f"{name} holds something else than numbers: {error}"
        raise DataError(msg) from error
    array = array[:, np.newaxis] if array.ndim == 1 else array
    if array.ndim != 2 or not array.shape[1]:  # noqa: PLR2004  rows and columns
        msg = f"{name} has shape {np.shape(values)}, expected (rows, columns)"
        raise DataError(msg)
    finite = np.isfinite(array)
    if not finite.all():
        row, column = (int(index) for index in np.argwhere(~finite)[0])
        found = f"{name} has {array[row, column]} in row {row}, column {column}"
        msg = f"{found}; expected finite 32-bit numbers"
        raise DataError(msg)
    return array


def _classes(answers: NDArray[Any]) -> tuple[Floats, tuple[tuple[str, ...], ...]]:
    """Return the index of each row's class, and the classes in their order."""
    if answers.shape[1] != 1:
        msg = f"y has {answers.shape[1]} columns of labels; train one model for each"
        raise DataError(msg)
    found, index = np.unique(answers[:, 0], return_inverse=True)
    names = tuple(str(value) for value in found)
    return index.astype(np.float64)[:, np.newaxis], (names,)


def _names(values: Any, given: Sequence[str], prefix: str) -> tuple[str, ...]:
    shape = np.shape(values)
    width = shape[1] if len(shape) > 1 else 1
    found = given or getattr(values, "columns", None)
    names = tuple(str(name) for name in found) if found is not None and len(found) else ()
    if given and len(names) != width:
        msg = f"{len(names)} names are given for the {width} columns of {prefix}"
        raise DataError(msg)
    if len(names) == width:
        return names
    return (prefix,) if width == 1 else tuple(f"{prefix}{i}" for i in range(width))


def _columns(
    names: tuple[str, ...], dtype: np.dtype[Any], units: Mapping[str, str]
) -> tuple[Column, ...]:
    bits = "" if dtype.kind == "b" else str(8 * dtype.itemsize)
    datatype = f"{_DATATYPES[dtype.kind]}{bits}" if dtype.kind in _DATATYPES else "BYTES"
    return tuple(Column(name=name, unit=units.get(name, ""), datatype=datatype) for name in names)


def _check_constant(values: Floats, names: tuple[str, ...]) -> None:
    for name, column in zip(names, values.T, strict=True):
        if (column == column[0]).all():
            msg = f"column '{name}' is constant ({column[0]:g} in every row); it teaches nothing"
            raise DataError(msg)
