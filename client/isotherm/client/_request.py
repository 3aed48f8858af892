"""Requests for inference: arrays into bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from isotherm.client._inputs import Fitted
from isotherm.client._wire import bytes_head
from isotherm.v1.open_inference_pb2 import ModelInferRequest
from isotherm.v1.tensors import DTYPES, Array, encode_raw

# Of ModelInferRequest.
_RAW_CONTENTS: Final = 7
# Of an element, where it lies in an array as it lies on the wire.
_SIZES: Final = {
    datatype: dtype.itemsize
    for datatype, dtype in DTYPES.items()
    if datatype not in {"BF16", "BYTES"}
}
# Callers with ever other numbers of rows must not fill the memory.
_MOST_HEADS: Final = 1024


class Envelope:
    """Makes the requests for one model and set of outputs, as bytes.

    A protobuf message may be written in parts: the head, which depends on the shapes alone, is made
    once, and the elements follow as they are.
    """

    def __init__(self, model: str, version: str, outputs: Sequence[str]) -> None:
        """An empty `outputs` asks for all of them."""
        self._model = model
        self._version = version
        self._outputs = outputs
        # What stands before the elements, by name, datatype and shape of the only input.
        self.heads: dict[tuple[str, str, tuple[int, ...]], bytes] = {}

    def request(self, inputs: Sequence[Fitted]) -> bytes:
        """Return the request with every input raw."""
        if len(inputs) == 1:
            name, datatype, array = inputs[0]
            if datatype in _SIZES and array.dtype == DTYPES[datatype]:
                return self.merged(name, datatype, (array,))
        parts = [self._head([(name, datatype, array.shape) for name, datatype, array in inputs])]
        for _, datatype, array in inputs:
            raw = encode_raw(array, datatype)
            parts += (bytes_head(_RAW_CONTENTS, len(raw)), raw)
        return b"".join(parts)

    def merged(self, name: str, datatype: str, arrays: Sequence[Array]) -> bytes:
        """Return the request with one input: the rows of all arrays, one after the other.

        The arrays have the type that numpy has for the datatype, and rows of one shape.
        """
        shape = arrays[0].shape
        if len(arrays) > 1:
            shape = (sum([len(array) for array in arrays]), *shape[1:])
        key = name, datatype, shape
        head = self.heads.get(key)
        if head is None:
            size = math.prod(shape) * _SIZES[datatype]
            head = self._head([key]) + bytes_head(_RAW_CONTENTS, size)
            if len(self.heads) < _MOST_HEADS:
                self.heads[key] = head
        # Copied once: the memory for a second copy of a long request costs more than all else here.
        pieces: list[Any] = [head, *arrays]
        try:
            return b"".join(pieces)
        except TypeError:
            # One of them does not lie in one piece.
            return b"".join((head, *(array.tobytes() for array in arrays)))

    def _head(self, inputs: Sequence[tuple[str, str, tuple[int, ...]]]) -> bytes:
        message = ModelInferRequest(model_name=self._model, model_version=self._version)
        for name, datatype, shape in inputs:
            message.inputs.add(name=name, datatype=datatype, shape=shape)
        for name in self._outputs:
            message.outputs.add(name=name)
        return message.SerializeToString()
