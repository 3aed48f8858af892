"""The caller's arrays, fitted to a model's inputs: by name, in datatype and in shape.

What fits in one way only is done: floats and integers become the model's floating type, integers
become another integer type that holds every one of them, n numbers become n rows of a model with
one feature. Everything else is refused here, where both the array and the model are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from isotherm.client._errors import InvalidInputError
from isotherm.client._misfit import Misfit
from isotherm.client._signature import Signature, TensorSpec
from isotherm.client._table import Table, refuse
from isotherm.v1.tensors import DTYPES, Array, TensorError, datatype_of

# An array, or arrays by input name; where the model has a contract also columns by feature name,
# in which None is a missing cell, rows of features by name, or a table.
Columns: TypeAlias = Mapping[str, ArrayLike | Sequence[Any] | None]
Inputs: TypeAlias = ArrayLike | Columns | Sequence[Mapping[str, Any]] | Table
# Name, datatype and elements of one input tensor.
Fitted: TypeAlias = tuple[str, str, Array]

_ROWS_AND_FEATURES: Final = 2
# An array says of no column which it is.
_BY_NAME: Final = "; categories that are text go by name: pass a dict of columns, or a table"


def fit(signature: Signature, x: Inputs) -> list[Fitted]:
    """Return the input tensors that `x` stands for; raise InvalidInputError if it fits none.

    A table is refused: what a contract says of its columns is applied before (`_table.arrange`).
    """
    try:
        # Nearly always an array: the other questions take longer than all else that it needs.
        if type(x) is not np.ndarray:
            if isinstance(x, Mapping):
                return _by_name(signature, x)
            refuse(x)
        return [_one(_only_input(signature), _array(x))]
    except Misfit as error:
        msg = f"model '{signature.model}': {error}"
        raise InvalidInputError(msg, model=signature.model) from error.__cause__


def _by_name(signature: Signature, arrays: Columns) -> list[Fitted]:
    if not signature.inputs:
        # Some servers describe no inputs: the arrays go out as they are.
        return [_as_is(name, _array(values)) for name, values in arrays.items()]
    expected = {spec.name for spec in signature.inputs}
    if expected != arrays.keys():
        found = ", ".join(arrays) or "none"
        msg = f"expected arrays for the inputs {signature.input_names}, got {found}"
        raise Misfit(msg)
    return [_one(spec, _array(arrays[spec.name])) for spec in signature.inputs]


def _only_input(signature: Signature) -> TensorSpec:
    if len(signature.inputs) != 1:
        msg = (
            f"it has {len(signature.inputs)} inputs ({signature.input_names}): "
            "pass a dict of arrays by input name"
        )
        raise Misfit(msg)
    return signature.inputs[0]


def _array(values: Any) -> Array:
    try:
        return np.asarray(values)
    except ValueError as error:
        msg = f"the input is no array: {error}"
        raise Misfit(msg) from error


def _as_is(name: str, array: Array) -> Fitted:
    try:
        return name, datatype_of(array), array
    except TensorError as error:
        msg = f"input '{name}': {error}"
        raise Misfit(msg) from error


def _one(spec: TensorSpec, array: Array) -> Fitted:
    return spec.name, spec.datatype, _cast(spec, _shape(spec, array))


def _shape(spec: TensorSpec, array: Array) -> Array:
    # The first dimension is left to the server: some describe a batch of 1 and take any.
    if array.ndim == len(spec.shape):
        if all(
            size in (-1, found) for size, found in zip(spec.shape[1:], array.shape[1:], strict=True)
        ):
            return array
    elif not spec.shape:
        return array
    elif array.ndim < _ROWS_AND_FEATURES == len(spec.shape):
        return _rows(spec, array)
    msg = f"input '{spec.name}' has shape {list(spec.shape)}, got an array of shape {array.shape}"
    raise Misfit(msg)


def _rows(spec: TensorSpec, array: Array) -> Array:
    features = spec.shape[1]
    if features == 1:
        return array.reshape(-1, 1)
    count = array.size
    width = f"{features} features" if features >= 0 else "any number of features"
    msg = (
        f"input '{spec.name}' takes rows of {width}, and an array of shape {array.shape} reads two "
        f"ways: {count} rows of 1 feature, x.reshape(-1, 1), or 1 row of {count} features, "
        "x.reshape(1, -1); pass one of them"
    )
    raise Misfit(msg)


def _cast(spec: TensorSpec, array: Array) -> Array:
    dtype = DTYPES.get(spec.datatype)
    if dtype is None:
        msg = f"input '{spec.name}' has datatype '{spec.datatype}', which this client does not know"
        raise Misfit(msg)
    if spec.datatype == "BYTES":
        return _texts(spec, array)
    if array.dtype == dtype:
        return array
    if dtype.kind == "f" and array.dtype.kind in "fiub":
        return _floats(spec, array, dtype)
    if dtype.kind in "iu" and array.dtype.kind in "iub":
        return _integers(spec, array, dtype)
    remedy = _BY_NAME if array.dtype.kind in "OSU" else ""
    msg = f"input '{spec.name}' is {spec.datatype}, got an array of {array.dtype}{remedy}"
    raise Misfit(msg)


def _floats(spec: TensorSpec, array: Array, dtype: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)
    lost = np.isinf(cast) & np.isfinite(array)
    if lost.any():
        msg = f"input '{spec.name}' is {spec.datatype}, which cannot hold {array[lost].flat[0]}"
        raise Misfit(msg)
    return cast


def _integers(spec: TensorSpec, array: Array, dtype: np.dtype[Any]) -> Array:
    cast = array.astype(dtype)
    # Equal values of either sign: a wrap between signed and unsigned keeps the bits, not the sign.
    lost = (cast != array) | ((cast < 0) != (array < 0))
    if lost.any():
        msg = f"input '{spec.name}' is {spec.datatype}, which cannot hold {array[lost].flat[0]}"
        raise Misfit(msg)
    return cast


def _texts(spec: TensorSpec, array: Array) -> Array:
    kind = array.dtype.kind
    if kind in "SU" or (kind == "O" and all(isinstance(each, str | bytes) for each in array.flat)):
        return array
    msg = f"input '{spec.name}' is BYTES: it takes str and bytes, got an array of {array.dtype}"
    raise Misfit(msg)
