"""Envelopes: all of a request but its tensors' bytes, which callers repeat and nobody need copy.

A caller asks one model again and again: its message is, byte for byte, one seen before, up to the
numbers at its end. Such a message is not parsed again. And a large tensor is not copied out of its
message, whoever sent it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from isotherm.server.session import Array
from isotherm.v1 import open_inference_pb2 as pb
from isotherm.v1.wire import Field, fields

_RAW_FIELD: Final = pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER
# Below this, taking a message apart here costs more than the copies that protobuf makes.
_LARGE_BYTES: Final = 64 << 10
_MAX_KNOWN: Final = 4096

Raw = Sequence[bytes | memoryview]


class Known(NamedTuple):
    """What stands before the bytes of a message's one tensor, and what that means."""

    size_bytes: int
    offset: int
    # The model's name and version, as callers write them.
    target: tuple[str, str]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def array(self, message: bytes) -> Array:
        """Return the tensor: a read-only view on the message, not always aligned."""
        count = (self.size_bytes - self.offset) // self.dtype.itemsize
        return np.frombuffer(message, self.dtype, count, self.offset).reshape(self.shape)


class Envelopes:
    """The envelopes that were seen; to be forgotten whenever models change."""

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}
        # How long the envelopes are in messages of a size.
        self._lengths: dict[int, tuple[int, ...]] = {}

    def find(self, message: bytes) -> Known | None:
        """Return what is known of a message, if its like was seen before."""
        for length in self._lengths.get(len(message), ()):
            known = self._known.get(message[:length])
            if known is not None and known.size_bytes == len(message):
                return known
        return None

    def learn(self, message: bytes, request: pb.ModelInferRequest, array: Array) -> None:
        """Remember a request of one raw tensor, `array`, and nothing else, if it comes last."""
        try:
            *_, last = fields(message)
        except ValueError:
            # Protobuf has read it, by rules that are not all ours: it will do so again.
            return
        if not _is_raw(last) or last.end - last.start != array.nbytes:
            return
        if len(self._known) >= _MAX_KNOWN:
            self.clear()
        size = len(message)
        self._known[message[: last.start]] = Known(
            size,
            last.start,
            (request.model_name, request.model_version),
            array.dtype,
            array.shape,
        )
        self._lengths[size] = tuple({*self._lengths.get(size, ()), last.start})

    def clear(self) -> None:
        """Forget all."""
        self._known.clear()
        self._lengths.clear()


def parse(message: bytes) -> tuple[pb.ModelInferRequest, Raw]:
    """Return the request, and its raw tensors, which are views if the message is large.

    Raises DecodeError.
    """
    if len(message) < _LARGE_BYTES:
        return _parse_whole(message)
    envelope, raw, at = [], [], 0
    view = memoryview(message)
    try:
        for field in fields(message):
            if _is_raw(field):
                raw.append(view[field.start : field.end])
            else:
                envelope.append(view[at : field.end])
            at = field.end
    except ValueError:
        return _parse_whole(message)
    return pb.ModelInferRequest.FromString(b"".join(envelope)), raw


def _parse_whole(message: bytes) -> tuple[pb.ModelInferRequest, Raw]:
    request = pb.ModelInferRequest.FromString(message)
    return request, request.raw_input_contents


def _is_raw(field: Field) -> bool:
    return field.number == _RAW_FIELD and field.delimited
