"""Arrays: what a caller holds in memory, as the checked table that training takes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isotherm.trainer import frames, splits, transform, weights
from isotherm.trainer.config import in_memory
from isotherm.trainer.data import MIN_ROWS, Column, Floats, Table
from isotherm.trainer.errors import DataError
from isotherm.trainer.splits import RANDOM, Split


def table(
    x: Any,
    y: Any,
    *,
    features: Sequence[str] = (),
    targets: Sequence[str] = (),
    units: Mapping[str, str] | None = None,
    labels: bool | None = None,
    weight: Any = None,
    time: Any = None,
    group: Any = None,
    **settings: Any,
) -> Table:
    """Return a table of arrays, or of whatever numpy makes arrays of.

    Args:
        x: shape (rows, features), or (rows,) for one feature; or columns by name.
        y: shape (rows, targets), or (rows,) for one target.
        features: their names; those of `x.columns` if it has any, else x0, x1 ...
        targets: likewise.
        units: by column name.
        labels: whether the target is a label. None: it is if it holds text or booleans.
        weight: shape (rows,), what each row counts.
        time: shape (rows,), when each row was: later rows are predicted from earlier ones.
        group: shape (rows,): rows of one group are left out together.
        **settings: more of `[data]`, such as `categories`, `missing` and `transforms`.

    Raises:
        ConfigError: a setting cannot be used.
        DataError: the arrays are no table to train on.
    """
    kept = {"weight": weight, "time": time, "group": group}
    parts = {part: _name(value, part) for part, value in kept.items() if value is not None}
    config, units = in_memory({**settings, **parts}), units or {}
    target_names = frames.names(y, targets, "y")
    inputs, described = frames.features(x, features, units, config)
    answers = np.asarray(y)
    answers = answers[:, np.newaxis] if answers.ndim == 1 else answers
    if len(inputs) != len(answers):
        msg = f"x has {len(inputs)} rows and y has {len(answers)}; expected one y for each x"
        raise DataError(msg)
    counts, split = _counts(weight, len(inputs)), _split(time, group, len(inputs))
    if counts is not None and not counts.all():
        counting = counts > 0
        inputs, answers, counts = inputs[counting], answers[counting], counts[counting]
        split = split.take(counting)
    labels = answers.dtype.kind not in "iuf" if labels is None else labels
    values, classes = _classes(answers) if labels else (frames.numbers(answers, "y"), ())
    outputs = frames.described(target_names, answers.dtype, units)
    words = "".join(value for column in described for value in column.categories)
    content = inputs.tobytes() + values.tobytes() + words.encode()
    content += split.keys.tobytes() + (b"" if counts is None else counts.tobytes())
    table = Table(
        features=described,
        targets=_transformed(outputs, values, config.transforms, labels=labels),
        x=inputs,
        y=values,
        sha256=hashlib.sha256(content).hexdigest(),
        classes=classes,
        weights=counts,
        weight_column=parts.get("weight", ""),
        split=split,
    )
    _check_rows(table)
    return table


def _check_rows(table: Table) -> None:
    if table.rows < MIN_ROWS:
        what = "rows" if table.weights is None else "rows that count"
        msg = f"x has {table.rows} {what}; at least {MIN_ROWS} are needed"
        raise DataError(msg)
    for column, cells in zip(table.features, table.x.T, strict=True):
        if column.missing in {"refuse", "mean"}:
            _check_constant(cells[~np.isnan(cells)], column.name)
    for column, values in zip(table.targets, table.y.T, strict=True):
        if not any(table.classes):
            _check_constant(values, column.name)


def _counts(weight: Any, rows: int) -> Floats | None:
    return None if weight is None else weights.read("weight", _cells(weight, "weight", rows))


def _split(time: Any, group: Any, rows: int) -> Split:
    if time is not None:
        return splits.read("time", _cells(time, "time", rows), "time", _name(time, "time"))
    if group is not None:
        return splits.read("group", _cells(group, "group", rows), "group", _name(group, "group"))
    return RANDOM


def _cells(values: Any, name: str, rows: int) -> Any:
    """Return one value a row as what a column of a table would hold."""
    found = np.asarray(values)
    if found.shape not in {(rows,), (rows, 1)}:
        msg = f"{name} has shape {found.shape}, expected ({rows},): one for each row of x"
        raise DataError(msg)
    try:
        return pa.chunked_array([pa.array(found.reshape(-1))])
    except pa.ArrowException as error:
        msg = f"{name} holds values of more than one kind: {error}"
        raise DataError(msg) from error


def _name(values: Any, usual: str) -> str:
    """Return the name that a column of a frame has, or the usual one."""
    return str(getattr(values, "name", None) or usual)


def _transformed(
    targets: tuple[Column, ...], y: Floats, transforms: Mapping[str, str], *, labels: bool
) -> tuple[Column, ...]:
    names = [target.name for target in targets]
    for name, scale in transforms.items():
        if name not in names:
            msg = (
                f"transforms names '{name}', which is no target; the targets are {', '.join(names)}"
            )
            raise DataError(msg)
        if labels:
            msg = f"target '{name}' is a label, which is not learned as {scale}"
            raise DataError(msg)
        transform.check(f"target '{name}'", y[:, names.index(name)], scale)
    return tuple(replace(one, transform=transforms.get(one.name, "")) for one in targets)


def _classes(answers: NDArray[Any]) -> tuple[Floats, tuple[tuple[str, ...], ...]]:
    """Return the index of each row's class, and the classes in their order."""
    if answers.shape[1] != 1:
        msg = f"y has {answers.shape[1]} columns of labels; train one model for each"
        raise DataError(msg)
    found, index = np.unique(answers[:, 0], return_inverse=True)
    names = tuple(str(value) for value in found)
    return index.astype(np.float64)[:, np.newaxis], (names,)


def _check_constant(values: Floats, name: str) -> None:
    if (values == values[0]).all():
        msg = f"column '{name}' is constant ({values[0]:g} in every row); it teaches nothing"
        raise DataError(msg)
