"""Plain inputs: arrays that are a model's only input tensor as they are, which most are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from isotherm.client._inputs import Fitted
from isotherm.client._signature import Signature
from isotherm.v1.cells import Cells
from isotherm.v1.contract_pb2 import Contract
from isotherm.v1.tensors import DTYPES

_ROWS_AND_FEATURES: Final = 2


class Plain:
    """The only input of a model, of shape (rows, features)."""

    def __init__(self, name: str, datatype: str, features: int, contract: Contract | None) -> None:
        self.name = name
        self.datatype = datatype
        self.features = features
        self.dtype = DTYPES[datatype]
        # What elements that are no number are to be held to; None where all of them are taken.
        cells = None if contract is None or self.dtype.kind != "f" else Cells(contract)
        self.cells = cells if cells is not None and cells.refuses else None

    @classmethod
    def of(cls, signature: Signature, contract: Contract | None) -> Plain | None:
        """Return the only input of a model; None where it has several, or one of another kind."""
        if len(signature.inputs) != 1:
            return None
        (spec,) = signature.inputs
        dtype = DTYPES.get(spec.datatype)
        known = dtype is not None and spec.datatype not in {"BF16", "BYTES"}
        if not known or len(spec.shape) != _ROWS_AND_FEATURES or spec.shape[1] < 1:
            return None
        return cls(spec.name, spec.datatype, spec.shape[1], contract)

    def fitted(self, x: Any) -> Sequence[Fitted] | None:
        """Return the input tensor where `x` is just that; None where it has to be looked at."""
        if (
            type(x) is np.ndarray
            and x.dtype == self.dtype
            and x.ndim == _ROWS_AND_FEATURES
            and x.shape[1] == self.features
        ):
            return ((self.name, self.datatype, x),)
        return None
