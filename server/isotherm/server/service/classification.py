"""Triton's classification extension: the largest elements of an output, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from isotherm.server.errors import InvalidRequestError
from isotherm.server.session import Array, TensorSpec


def class_count(spec: TensorSpec, parameter: Any) -> int:
    """Return how many classes a request asks for; raise InvalidRequestError when it cannot be."""
    kind, count = parameter.WhichOneof("parameter_choice"), parameter.int64_param
    if kind != "int64_param" or count < 1:
        msg = f"output '{spec.name}': classification must be an int64_param of 1 or more"
        raise InvalidRequestError(msg)
    if spec.datatype in {"FP16", "BF16", "BOOL", "BYTES"}:
        msg = (
            "class result not available for output due to unsupported type: "
            f"'{spec.name}' is {spec.datatype}"
        )
        raise InvalidRequestError(msg)
    return int(count)


def classify(array: Array, count: int, labels: Sequence[str], *, batched: bool) -> Array:
    """Return the `count` largest elements, of every row where `batched`, in falling order.

    Each is "<value>:<index>", and ":<label>" where there is one. Of shape (rows, k), or (k,).
    """
    rows = array.reshape(len(array), -1) if batched else array.reshape(1, -1)
    count = min(count, rows.shape[1])
    # Stable, so that the first of equal elements comes first.
    order = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :count]
    pattern = "%f:%d" if array.dtype.kind == "f" else "%d:%d"
    result = np.empty(order.shape, np.object_)
    for row, indices in enumerate(order.tolist()):
        for rank, index in enumerate(indices):
            text = pattern % (rows[row, index], index)
            result[row, rank] = f"{text}:{labels[index]}" if index < len(labels) else text
    return result if batched else result[0]
