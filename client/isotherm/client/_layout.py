"""The layout of an answer: where on the wire its elements lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError

from isotherm.client._prediction import Lying, Place, Prediction
from isotherm.client._wire import bytes_head
from isotherm.v1.open_inference_pb2 import ModelInferResponse
from isotherm.v1.tensors import DTYPES, Array

# Of ModelInferResponse.
_RAW_CONTENTS: Final = 6
# Whose elements do not lie on the wire as they lie in an array.
_ENCODED: Final = frozenset({"BYTES", "BF16"})


class Layout(NamedTuple):
    """Where the elements of an answer lie, and the bytes around them.

    Attributes:
        around: Those bytes, and where they stand.
        places: The outputs, in the order in which they are returned.
        version: The version that answered, which is among the bytes around.
    """

    around: tuple[tuple[int, bytes], ...]
    places: dict[str, Place]
    version: str

    def fits(self, data: bytes) -> bool:
        """Tell whether an answer of the same length differs in its elements alone."""
        # Not by `all`: this is done for every answer.
        for start, expected in self.around:  # noqa: SIM110
            if not data.startswith(expected, start):
                return False
        return True

    def read(self, data: bytes) -> Array | Prediction:
        """Return what the answer says: one array, or several."""
        if len(self.places) == 1:
            (place,) = self.places.values()
            return place.array(data)
        return Lying(self.places, data)


def find(data: bytes, message: ModelInferResponse, outputs: Sequence[str]) -> Layout | None:
    """Return the layout of an answer that has been parsed; None where it has none of this kind.

    Messages may be written in many ways. Nearly all are written field by field, so that the
    elements come last, and nothing else is understood here.
    """
    raws = list(message.raw_output_contents)
    if not raws or any(tensor.datatype in _ENCODED for tensor in message.outputs):
        return None
    around: list[tuple[int, bytes]] = []
    edges: list[tuple[int, int]] = []
    stop = len(data)
    for raw in reversed(raws):
        start = stop - len(raw)
        head = bytes_head(_RAW_CONTENTS, len(raw))
        edges.insert(0, (start, stop))
        around.insert(0, (start - len(head), head))
        stop = start - len(head)
    try:
        rest = ModelInferResponse.FromString(data[: max(0, stop)])
    except DecodeError:
        return None
    around.insert(0, (0, data[: max(0, stop)]))
    whole = ModelInferResponse()
    whole.CopyFrom(message)
    whole.ClearField("raw_output_contents")
    if stop < 0 or rest != whole:
        return None
    places = {
        tensor.name: Place(DTYPES[tensor.datatype], *edge, tuple(tensor.shape))
        for tensor, edge in zip(message.outputs, edges, strict=True)
    }
    layout = Layout(tuple(around), {name: places[name] for name in outputs}, message.model_version)
    return layout if layout.fits(data) else None
