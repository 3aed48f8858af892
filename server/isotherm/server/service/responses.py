"""ModelInfer answers as bytes, for a whole batch at once.

Serialised messages may be concatenated: the result is their union. So the part of an answer that
only depends on the number of rows (names, types, shapes, the lengths of the raw outputs) is
serialised once and kept, and an answer is that part, the rows' bytes and the request's id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from isotherm.server.loader import Model
from isotherm.server.service.classification import classify
from isotherm.server.session import Array
from isotherm.server.transport.call import Call
from isotherm.v1 import open_inference_pb2 as pb
from isotherm.v1.tensors import encode_raw
from isotherm.v1.wire import delimited, varint

# Tags of ModelInferResponse.id and .raw_output_contents: field number << 3 | 2 (length-delimited).
_ID_TAG: Final = b"\x1a"
_RAW_TAG: Final = b"\x32"
_MAX_HEADS: Final = 4096

# Indices of the outputs asked for, in the model's order; None for all.
Selection = tuple[int, ...] | None


class Answer(NamedTuple):
    """What a request wants back, and the call that waits for it."""

    call: Call
    rows: int
    request_id: str
    selection: Selection = None
    # How many classes are wanted of each selected output, 0 for the tensor; empty for all tensors.
    classes: tuple[int, ...] = ()


class ResponseEncoder:
    """Encodes the answers of one model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._outputs = model.session.outputs
        self._batched = model.batched
        self._all = tuple(range(len(self._outputs)))
        self._labels = _labels(model)
        # Text has no fixed length a row, and a free dimension no fixed shape.
        self._fixed = self._batched and all(
            spec.datatype != "BYTES" and -1 not in spec.shape[1:] for spec in self._outputs
        )
        self._heads: dict[tuple[int, Selection], list[bytes]] = {}

    def encode(
        self,
        outputs: Sequence[Array],
        answers: Sequence[Answer],
    ) -> list[bytes]:
        """Return one message an answer; `outputs` hold the answers' rows in order."""
        if not self._fixed or any(answer.classes for answer in answers):
            return self._encode_generally(outputs, answers)
        views = [memoryview(output.tobytes()) for output in outputs]
        widths = [output.nbytes // len(output) for output in outputs]
        messages = []
        start = 0
        for _, rows, request_id, selection, _ in answers:
            stop = start + rows
            heads = self._heads.get((rows, selection)) or self._new_heads(
                rows, selection, outputs, widths
            )
            parts: list[bytes | memoryview] = []
            for head, index in zip(heads, selection or self._all, strict=True):
                width = widths[index]
                parts += (head, views[index][start * width : stop * width])
            if request_id:
                parts.append(delimited(_ID_TAG, request_id.encode()))
            messages.append(b"".join(parts))
            start = stop
        return messages

    def _new_heads(
        self, rows: int, selection: Selection, outputs: Sequence[Array], widths: Sequence[int]
    ) -> list[bytes]:
        if len(self._heads) >= _MAX_HEADS:
            self._heads.clear()
        indices = selection or self._all
        message = self._describe(indices, [(rows, *outputs[i].shape[1:]) for i in indices])
        heads = [_RAW_TAG + varint(rows * widths[index]) for index in indices]
        heads[0] = message.SerializeToString() + heads[0]
        self._heads[rows, selection] = heads
        return heads

    def _encode_generally(
        self,
        outputs: Sequence[Array],
        answers: Sequence[Answer],
    ) -> list[bytes]:
        messages = []
        start = 0
        for _, rows, request_id, selection, classes in answers:
            indices = selection or self._all
            arrays = [outputs[index] for index in indices]
            if self._batched:
                arrays = [array[start : start + rows] for array in arrays]
            arrays = [
                classify(array, count, self._labels.get(index, ()), batched=self._batched)
                if count
                else array
                for index, array, count in zip(
                    indices, arrays, classes or [0] * len(arrays), strict=True
                )
            ]
            message = self._describe(indices, [array.shape for array in arrays])
            for output, count in zip(message.outputs, classes, strict=False):
                output.datatype = "BYTES" if count else output.datatype
            message.id = request_id
            message.raw_output_contents.extend(encode_raw(array) for array in arrays)
            messages.append(message.SerializeToString())
            start += rows
        return messages

    def _describe(
        self, indices: Sequence[int], shapes: Sequence[tuple[int, ...]]
    ) -> pb.ModelInferResponse:
        specs = [self._outputs[index] for index in indices]
        return pb.ModelInferResponse(
            model_name=self._model.name,
            model_version=str(self._model.version),
            outputs=[
                pb.ModelInferResponse.InferOutputTensor(
                    name=spec.name, datatype=spec.datatype, shape=shape
                )
                for spec, shape in zip(specs, shapes, strict=True)
            ],
        )


def _labels(model: Model) -> dict[int, Sequence[str]]:
    """Return the labels of the prediction's columns, by the index of the output."""
    if model.contract is None:
        return {}
    names = [spec.name for spec in model.session.outputs]
    labels = [label for target in model.contract.targets for label in target.classes]
    return {names.index(model.contract.tensors.prediction): labels}
