"""Cells of the input tensor: which of them a contract refuses, in one sentence for both ends.

A client finds the mistake before it sends anything, the server where it did not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from isotherm.v1.contract import takes_missing
from isotherm.v1.contract_pb2 import NON_FINITE_ACCEPT, Contract
from isotherm.v1.tensors import Array


class Cells:
    """What the cells of a model's input may be.

    Infinity is refused, and so is NaN but in features of which the contract says what the graph
    does with a missing cell. A contract may also accept all of it.
    """

    def __init__(self, contract: Contract) -> None:
        self.refuses = contract.non_finite != NON_FINITE_ACCEPT
        self._input = contract.tensors.input
        self._names = [feature.name for feature in contract.features]
        taken = np.array([takes_missing(feature) for feature in contract.features], np.bool_)
        self._taken = taken if taken.any() else None

    def refused(self, array: Array) -> NDArray[np.bool_] | None:
        """Return which cells are refused, of shape (rows, features); None where all are taken."""
        if not self.refuses or array.dtype.kind != "f":
            return None
        finite = np.isfinite(array)
        # A third of the time of `finite.all()`, which counts when the input is one row.
        if np.count_nonzero(finite) == finite.size:
            return None
        bad: NDArray[np.bool_] = ~finite
        if self._taken is not None and array.shape[1:] == self._taken.shape:
            bad &= ~(np.isnan(array) & self._taken)
            if not bad.any():
                return None
        return bad

    def complaint(self, array: Array, refused: NDArray[np.bool_], model: str) -> str:
        """Return the sentence on the first cell that is refused: its row, its feature, and why."""
        row, column = (int(index) for index in np.argwhere(refused)[0])
        value = float(array[row, column])
        name = self._names[column] if column < len(self._names) else self._input
        why = f"model '{model}' was not trained on such values"
        policy = f" (missing: refuse{self._others()})" if math.isnan(value) else ""
        return f"row {row} of input '{self._input}' has {value} for '{name}': {why}{policy}"

    def _others(self) -> str:
        if self._taken is None:
            return ""
        names = [name for name, taken in zip(self._names, self._taken, strict=True) if taken]
        return f"; it may be missing in {_listed(names)}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


_SHOWN = 5
