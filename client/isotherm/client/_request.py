"""Requests for inference: arrays into bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from isotherm.client._inputs import Fitted
from isotherm.client._wire import bytes_head
from isotherm.v1.open_inference_pb2 import ModelInferRequest
from isotherm.v1.tensors import encode_raw

# Of ModelInferRequest.
_RAW_CONTENTS: Final = 7
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
            raw = encode_raw(array, datatype)
            if datatype != "BYTES":
                return self.plain(name, datatype, array.shape, raw)
        parts = [self._head([(name, datatype, array.shape) for name, datatype, array in inputs])]
        for _, datatype, array in inputs:
            raw = encode_raw(array, datatype)
            parts += (bytes_head(_RAW_CONTENTS, len(raw)), raw)
        return b"".join(parts)

    def plain(self, name: str, datatype: str, shape: tuple[int, ...], raw: bytes) -> bytes:
        """Return the request with one input, whose length follows from its type and shape."""
        key = name, datatype, shape
        head = self.heads.get(key)
        if head is None:
            head = self._head([(name, datatype, shape)]) + bytes_head(_RAW_CONTENTS, len(raw))
            if len(self.heads) < _MOST_HEADS:
                self.heads[key] = head
        return head + raw

    def _head(self, inputs: Sequence[tuple[str, str, tuple[int, ...]]]) -> bytes:
        message = ModelInferRequest(model_name=self._model, model_version=self._version)
        for name, datatype, shape in inputs:
            message.inputs.add(name=name, datatype=datatype, shape=shape)
        for name in self._outputs:
            message.outputs.add(name=name)
        return message.SerializeToString()
