"""Plain inputs: arrays that are a model's only input tensor as they are, which most are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from isotherm.client._inputs import Fitted
from isotherm.client._request import Envelope
from isotherm.client._signature import Signature
from isotherm.v1.cells import Cells
from isotherm.v1.contract_pb2 import Contract
from isotherm.v1.tensors import DTYPES, Array

_ROWS_AND_FEATURES: Final = 2
# Beyond, numpy finds a NaN faster than a loop does.
_FEW_ELEMENTS: Final = 256


class Plain:
    """The only input of a model, of shape (rows, features)."""

    def __init__(self, name: str, datatype: str, features: int, contract: Contract | None) -> None:
        self.name = name
        self.datatype = datatype
        self.features = features
        self.dtype = DTYPES[datatype]
        self.row_bytes = features * self.dtype.itemsize
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

    def request(self, envelope: Envelope, array: Array) -> bytes | None:
        """Return the request for a small array that fits; None where it has to be looked into."""
        # Known only for shapes that the model has taken before.
        head = envelope.heads.get((self.name, self.datatype, array.shape))
        if head is None or array.size > _FEW_ELEMENTS:
            return None
        if self.cells is not None:
            for element in array.ravel().tolist():
                # Zero, but for NaN and the infinities.
                if element - element:
                    if self.cells.refused(array) is not None:
                        return None
                    break
        raw: bytes = array.tobytes()
        return head + raw

    def elements(self, request: bytes, rows: int) -> Array:
        """Return the elements of so many rows, which a request ends with."""
        shape = rows, self.features
        return np.ndarray(shape, self.dtype, request, len(request) - rows * self.row_bytes)

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
