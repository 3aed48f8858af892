"""Answers of inference: bytes into arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from isotherm.client import _layout
from isotherm.client._errors import InvalidAnswerError
from isotherm.client._layout import Layout
from isotherm.client._prediction import Prediction
from isotherm.v1.open_inference_pb2 import ModelInferResponse
from isotherm.v1.tensors import Array, decode_contents, decode_raw

# Answers of ever other sizes must not fill the memory.
_MOST_LAYOUTS: Final = 1024
# To parse a larger answer takes longer, and to know where its elements lie saves no more.
_LARGEST_BYTES: Final = 1 << 20


class Answer(NamedTuple):
    """What a model answered, and which version of it."""

    result: Array | Prediction
    version: str


class Reader:
    """Reads a model's answers to requests for one set of outputs.

    Answers of one size nearly always differ in their elements alone. So where those lie is found
    once, by parsing, and known again by all the bytes around them being the same.
    """

    def __init__(self, outputs: Sequence[str]) -> None:
        """Without `outputs` everything that comes is returned."""
        self._outputs = outputs
        self._layouts: dict[int, Layout] = {}

    def read(self, data: bytes) -> Answer:
        """Return the one array of the answer, or a Prediction of several.

        Servers that ignore the request's outputs send everything: what was not asked for is left
        out here.
        """
        layout = self._layouts.get(len(data))
        if layout is not None and layout.fits(data):
            return Answer(layout.read(data), layout.version)
        try:
            message = ModelInferResponse.FromString(data)
        except DecodeError as error:
            msg = "the answer cannot be read: it is no ModelInferResponse"
            raise InvalidAnswerError(msg) from error
        arrays = _chosen(message, self._outputs)
        if len(data) <= _LARGEST_BYTES and len(self._layouts) < _MOST_LAYOUTS:
            found = _layout.find(data, message, tuple(arrays))
            if found is not None:
                self._layouts[len(data)] = found
        (one, *others) = arrays.values()
        return Answer(Prediction(arrays) if others else one, message.model_version)


def _chosen(answer: ModelInferResponse, outputs: Sequence[str]) -> dict[str, Array]:
    arrays = _arrays(answer)
    if not outputs:
        return arrays
    missing = [name for name in outputs if name not in arrays]
    if missing:
        raise _unreadable(answer, f"output '{missing[0]}' is missing")
    return {name: arrays[name] for name in outputs}


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
