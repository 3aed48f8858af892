"""The messages of an inference: arrays into a request, an answer into arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from isotherm.client._errors import InvalidAnswerError
from isotherm.client._inputs import Fitted
from isotherm.client._prediction import Prediction
from isotherm.v1.open_inference_pb2 import ModelInferRequest, ModelInferResponse
from isotherm.v1.tensors import Array, decode_contents, decode_raw, encode_raw

# Field 7 of ModelInferRequest, `raw_input_contents`, as a field of bytes on the wire.
_RAW_CONTENTS: Final = b"\x3a"
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
        self._heads: dict[tuple[int, ...], bytes] = {}

    def request(self, inputs: Sequence[Fitted]) -> bytes:
        """Return the request with every input raw."""
        if len(inputs) == 1:
            _, datatype, array = inputs[0]
            raw = encode_raw(array, datatype)
            if datatype != "BYTES":
                head = self._heads.get(array.shape)
                if head is None:
                    head = self._head(inputs) + _RAW_CONTENTS + _varint(len(raw))
                    if len(self._heads) < _MOST_HEADS:
                        self._heads[array.shape] = head
                return head + raw
            return b"".join((self._head(inputs), _RAW_CONTENTS, _varint(len(raw)), raw))
        parts = [self._head(inputs)]
        for _, datatype, array in inputs:
            raw = encode_raw(array, datatype)
            parts += (_RAW_CONTENTS, _varint(len(raw)), raw)
        return b"".join(parts)

    def _head(self, inputs: Sequence[Fitted]) -> bytes:
        message = ModelInferRequest(model_name=self._model, model_version=self._version)
        for name, datatype, array in inputs:
            message.inputs.add(name=name, datatype=datatype, shape=array.shape)
        for name in self._outputs:
            message.outputs.add(name=name)
        return message.SerializeToString()


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:  # noqa: PLR2004  seven bits a byte
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def read(answer: ModelInferResponse, outputs: Sequence[str]) -> Array | Prediction:
    """Return the one array of the answer, or a Prediction of several.

    Servers that ignore `outputs` send everything: what was not asked for is left out here.
    """
    if len(answer.outputs) == 1 == len(answer.raw_output_contents):
        (tensor,) = answer.outputs
        if not outputs or outputs == (tensor.name,):
            return _raw(answer, tensor, answer.raw_output_contents[0])
    arrays = _arrays(answer)
    if outputs:
        missing = [name for name in outputs if name not in arrays]
        if missing:
            raise _unreadable(answer, f"output '{missing[0]}' is missing")
        arrays = {name: arrays[name] for name in outputs}
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    return Prediction(arrays)


def _raw(answer: ModelInferResponse, tensor: Any, raw: bytes) -> Array:
    try:
        return decode_raw(tensor.name, tensor.datatype, tensor.shape, raw, kind="output")
    except ValueError as error:
        raise _unreadable(answer, str(error)) from error


def _arrays(answer: ModelInferResponse) -> dict[str, Array]:
    if not answer.outputs:
        raise _unreadable(answer, "it has no outputs")
    try:
        if not answer.raw_output_contents:
            return {each.name: decode_contents(each, kind="output") for each in answer.outputs}
        return {
            each.name: decode_raw(each.name, each.datatype, each.shape, raw, kind="output")
            for each, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
        }
    except ValueError as error:
        raise _unreadable(answer, str(error)) from error


def _unreadable(answer: ModelInferResponse, reason: str) -> InvalidAnswerError:
    msg = f"the answer of model '{answer.model_name}' cannot be read: {reason}"
    return InvalidAnswerError(msg, model=answer.model_name)
