"""The messages of feedback: predictions and truths, checked, in requests of a bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isotherm.client._errors import InvalidInputError
from isotherm.v1.feedback_pb2 import ReportRequest

Table = NDArray[np.float64]

# What the server takes in one table; longer ones go out in several calls.
MAX_NUMBERS: Final = 4096

_ROWS_AND_TARGETS: Final = 2


@dataclass(frozen=True, slots=True)
class Report:
    """Rows of predictions with their truths, as the caller gave them.

    Arrays of shape `(rows,)` or `(rows, targets)`; `predicted_at` has one number a row, or one for
    all of them, in seconds since 1970.
    """

    prediction: ArrayLike
    truth: ArrayLike
    lower: ArrayLike | None = None
    upper: ArrayLike | None = None
    predicted_at: ArrayLike | None = None

    def requests(self, model: str, version: str) -> Iterator[ReportRequest]:
        """Yield the requests that carry all rows; raise InvalidInputError before the first one."""
        try:
            tables = self._tables()
            rows, width = tables["prediction"].shape
            times_s = None if self.predicted_at is None else _times(self.predicted_at, rows)
        except _Misfit as error:
            msg = f"feedback on model '{model}': {error}"
            raise InvalidInputError(msg, model=model) from error.__cause__
        step = max(1, MAX_NUMBERS // width)
        for start in range(0, rows, step):
            request = ReportRequest(model_name=model, model_version=version)
            for name, table in tables.items():
                getattr(request, name).extend(table[start : start + step].ravel().tolist())
            if times_s is not None:
                request.predicted_at.extend(times_s[start : start + step].tolist())
            yield request

    def _tables(self) -> dict[str, Table]:
        if (self.lower is None) != (self.upper is None):
            given, missing = ("lower", "upper") if self.upper is None else ("upper", "lower")
            msg = f"{given} is given without {missing}: an interval takes both or neither"
            raise _Misfit(msg)
        given_tables = {
            "prediction": self.prediction,
            "truth": self.truth,
            "lower": self.lower,
            "upper": self.upper,
        }
        tables = {
            name: _table(name, values)
            for name, values in given_tables.items()
            if values is not None
        }
        _check_shapes(tables)
        for name in ("prediction", "truth"):
            _check_all(np.isfinite(tables[name]), name, tables[name], "a finite number")
        if self.lower is not None:
            lower, upper = tables["lower"], tables["upper"]
            _check_all(lower <= upper, "lower", lower, "at most upper, and not NaN")
        return tables


class _Misfit(Exception):  # noqa: N818  a signal inside this module, never seen outside
    """What is wrong, to be told together with the model's name."""


def _table(name: str, values: ArrayLike) -> Table:
    array = _numbers(name, values)
    if array.ndim > _ROWS_AND_TARGETS:
        msg = f"{name} has shape {array.shape}, expected (rows,) or (rows, targets)"
        raise _Misfit(msg)
    return array if array.ndim == _ROWS_AND_TARGETS else array.reshape(-1, 1)


def _numbers(name: str, values: ArrayLike) -> Table:
    try:
        array: NDArray[Any] = np.asarray(values)
    except ValueError as error:
        msg = f"{name} is no array: {error}"
        raise _Misfit(msg) from error
    if array.dtype.kind not in "fiu":
        msg = f"{name} is an array of {array.dtype}, expected numbers"
        raise _Misfit(msg)
    return array.astype(np.float64)


def _check_shapes(tables: dict[str, Table]) -> None:
    shape = tables["prediction"].shape
    if not tables["prediction"].size:
        msg = "prediction has no rows"
        raise _Misfit(msg)
    for name, table in tables.items():
        if table.shape != shape:
            msg = (
                f"{name} has {table.shape[0]} rows of {table.shape[1]}, "
                f"prediction {shape[0]} of {shape[1]}"
            )
            raise _Misfit(msg)


def _check_all(good: NDArray[np.bool_], name: str, table: Table, expected: str) -> None:
    if not good.all():
        row, column = (int(index) for index in np.argwhere(~good)[0])
        msg = f"{name} is {table[row, column]:g} in row {row}, expected {expected}"
        raise _Misfit(msg)


def _times(predicted_at: ArrayLike, rows: int) -> Table:
    times_s = _numbers("predicted_at", predicted_at)
    if times_s.shape not in {(), (rows,)}:
        msg = f"predicted_at has shape {times_s.shape}, expected ({rows},), or one number"
        raise _Misfit(msg)
    return np.broadcast_to(times_s, (rows,))
