"""ModelInfer requests as arrays: every caller's mistake ends here, before the queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from isotherm.server.errors import InvalidRequestError, NonFiniteError, UnsupportedError
from isotherm.server.loader import Model
from isotherm.server.service.classification import class_count
from isotherm.server.service.envelopes import Raw
from isotherm.server.session import Array, TensorSpec
from isotherm.v1 import open_inference_pb2 as pb
from isotherm.v1.cells import Cells
from isotherm.v1.tensors import (
    DTYPES,
    TensorError,
    decode_contents,
    decode_raw,
    has_contents,
)

# Parameters of tensors that ask for what is not served; the rest are ignored, as Triton does.
_UNSERVED: Final = {
    "shared_memory_region": "shared memory is not served: send the tensor in the message",
}


class RequestDecoder:
    """Turns requests for one model into arrays, in the order of the model's inputs."""

    def __init__(self, model: Model) -> None:
        self._name = model.name
        self._specs = model.session.inputs
        self._positions = {spec.name: index for index, spec in enumerate(self._specs)}
        self._output_specs = model.session.outputs
        self._outputs = {spec.name: index for index, spec in enumerate(self._output_specs)}
        self._batched = model.batched
        self._cells = Cells(model.contract) if model.contract is not None else None
        # The shapes of variable inputs decide which requests can share a batch.
        self._variable = any(-1 in spec.shape[1:] for spec in self._specs) and self._batched
        self._quick = _QuickInput(self._specs) if len(self._specs) == 1 and self._batched else None

    def decode(
        self, request: pb.ModelInferRequest, raw: Raw
    ) -> tuple[Sequence[Array], int, object]:
        """Return (arrays, rows, batch key); raise InvalidRequestError naming the culprit.

        `raw` are the request's raw tensors, which need not be in the request itself.
        """
        arrays = self.quick(request, raw)
        if arrays is None:
            arrays = self._decode_all(request, raw)
        rows = len(arrays[0]) if self._batched else 1
        if self._batched and not rows:
            msg = f"the request for model '{self._name}' has no rows"
            raise InvalidRequestError(msg)
        self.check(arrays)
        key = tuple(array.shape[1:] for array in arrays) if self._variable else None
        return arrays, rows, key

    def quick(self, request: pb.ModelInferRequest, raw: Raw) -> list[Array] | None:
        """Return the arrays of the common request, or None where the careful way must decide."""
        return self._quick.decode(request, raw) if self._quick is not None else None

    def check(self, arrays: Sequence[Array]) -> None:
        """Raise InvalidRequestError when the model refuses one of the numbers."""
        if self._cells is None:
            return
        # A contract knows one input.
        (array,) = arrays
        refused = self._cells.refused(array)
        if refused is not None:
            raise NonFiniteError(self._cells.complaint(array, refused, self._name), array)

    def select_outputs(self, request: pb.ModelInferRequest) -> dict[int, int] | None:
        """Return the outputs asked for; None for all.

        By index, in the model's order; the value is how many classes are wanted, 0 for the tensor.
        """
        if not request.outputs:
            return None
        selected: dict[int, int] = {}
        for output in request.outputs:
            index = self._outputs.get(output.name)
            if index is None:
                msg = (
                    f"unexpected inference output '{output.name}' for model '{self._name}', "
                    f"expected {_names(self._outputs)}"
                )
                raise InvalidRequestError(msg)
            if index in selected:
                msg = f"output '{output.name}' already exists in request"
                raise InvalidRequestError(msg)
            _check_parameters(f"output '{output.name}'", output.parameters)
            selected[index] = (
                class_count(self._output_specs[index], output.parameters["classification"])
                if "classification" in output.parameters
                else 0
            )
        return dict(sorted(selected.items()))

    def _decode_all(self, request: pb.ModelInferRequest, raw: Raw) -> list[Array]:
        if raw and len(raw) != len(request.inputs):
            msg = (
                f"the request for model '{self._name}' has {len(request.inputs)} inputs and "
                f"{len(raw)} raw_input_contents, expected one each; "
                "unable to find data for input tensor"
            )
            raise InvalidRequestError(msg)
        found: dict[int, Array] = {}
        for index, tensor in enumerate(request.inputs):
            position = self._position(tensor, found)
            self._check_tensor(self._specs[position], tensor)
            found[position] = self._data(tensor, raw[index] if raw else None)
        missing = [spec.name for index, spec in enumerate(self._specs) if index not in found]
        if missing:
            msg = (
                f"expected {len(self._specs)} inputs but got {len(found)} for model "
                f"'{self._name}': missing {_names(missing)}"
            )
            raise InvalidRequestError(msg)
        arrays = [found[index] for index in range(len(self._specs))]
        if self._batched and len({len(array) for array in arrays}) > 1:
            sizes = ", ".join(
                f"'{spec.name}' {len(array)}"
                for spec, array in zip(self._specs, arrays, strict=True)
            )
            msg = f"the inputs of model '{self._name}' differ in their number of rows: {sizes}"
            raise InvalidRequestError(msg)
        return arrays

    def _position(self, tensor: Any, found: dict[int, Array]) -> int:
        position = self._positions.get(tensor.name)
        if position is None:
            msg = (
                f"unexpected inference input '{tensor.name}' for model '{self._name}', "
                f"expected {_names(self._positions)}"
            )
            raise InvalidRequestError(msg)
        if position in found:
            msg = f"input '{tensor.name}' already exists in request"
            raise InvalidRequestError(msg)
        return position

    def _check_tensor(self, spec: TensorSpec, tensor: Any) -> None:
        _check_parameters(f"input '{tensor.name}'", tensor.parameters)
        if tensor.datatype != spec.datatype:
            known = "" if tensor.datatype in DTYPES else " (no datatype of the protocol)"
            msg = (
                f"input '{spec.name}' of model '{self._name}' is {spec.datatype}, "
                f"got '{tensor.datatype}'{known}"
            )
            raise InvalidRequestError(msg)
        shape = tuple(tensor.shape)
        if not _fits(spec.shape, shape):
            msg = (
                f"input '{spec.name}' of model '{self._name}' has shape {list(spec.shape)} "
                f"(-1: any size), got {list(shape)}"
            )
            raise InvalidRequestError(msg)

    def _data(self, tensor: Any, raw: bytes | memoryview | None) -> Array:
        try:
            if raw is not None:
                if has_contents(tensor):
                    msg = (
                        "contents field must not be specified when using raw_input_contents for "
                        f"'{tensor.name}' for model '{self._name}'"
                    )
                    raise InvalidRequestError(msg)
                return _text(decode_raw(tensor.name, tensor.datatype, tuple(tensor.shape), raw))
            if not tensor.HasField("contents"):
                msg = f"unable to find data for input tensor '{tensor.name}' of '{self._name}'"
                raise InvalidRequestError(msg)
            return _text(decode_contents(tensor))
        except TensorError as error:
            msg = f"model '{self._name}': {error}"
            raise InvalidRequestError(msg) from error
        except UnicodeDecodeError as error:
            msg = (
                f"input '{tensor.name}' of model '{self._name}' has an element that is not UTF-8, "
                f"as ONNX strings are: {error}"
            )
            raise InvalidRequestError(msg) from error


class _QuickInput:
    """The common request: the model's one input, raw, with fixed row shape and nothing special."""

    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        (spec,) = specs
        self._spec = spec
        self._tail = spec.shape[1:]
        self._dtype = DTYPES[spec.datatype]
        self._row_bytes = self._dtype.itemsize * int(np.prod(self._tail))
        self._usable = -1 not in self._tail and spec.datatype != "BYTES"

    def decode(self, request: pb.ModelInferRequest, raw: Raw) -> list[Array] | None:
        """Return the input, or None where the careful way must decide what is wrong."""
        inputs = request.inputs
        if not self._usable or len(inputs) != 1 or len(raw) != 1:
            return None
        tensor, data = inputs[0], raw[0]
        shape = tuple(tensor.shape)
        if (
            tensor.name != self._spec.name
            or tensor.datatype != self._spec.datatype
            or shape[1:] != self._tail
            or not shape
            or len(data) != shape[0] * self._row_bytes
            or tensor.HasField("contents")
            or tensor.parameters
        ):
            return None
        return [np.frombuffer(data, self._dtype).reshape(shape)]


def _fits(expected: tuple[int, ...], given: tuple[int, ...]) -> bool:
    return len(expected) == len(given) and all(
        dim >= 0 and want in {-1, dim} for want, dim in zip(expected, given, strict=True)
    )


def _text(array: Array) -> Array:
    """Return BYTES as the text that ONNX strings are; other arrays as they are."""
    if array.dtype != object:
        return array
    return np.array([item.decode() for item in array.ravel()], object).reshape(array.shape)


def _check_parameters(owner: str, parameters: Any) -> None:
    for name in parameters:
        if name in _UNSERVED:
            msg = f"{owner}: {_UNSERVED[name]}"
            raise UnsupportedError(msg)


def _names(names: Any) -> str:
    return ", ".join(f"'{name}'" for name in names)
