"""Requests made as bytes: what protobuf would have made of the same."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isotherm.client import _request
from isotherm.client._inputs import Fitted
from isotherm.client._request import Envelope
from isotherm.v1.open_inference_pb2 import ModelInferRequest
from isotherm.v1.tensors import encode_raw
from tests.unit.client.tensors_strategy import forty_examples, names, tensors

many = st.lists(tensors(), max_size=4)
requests = st.lists(st.lists(tensors(), min_size=1, max_size=1) | many, min_size=1, max_size=6)


def by_protobuf(
    model: str, version: str, outputs: list[str], inputs: list[Fitted]
) -> ModelInferRequest:
    """Return the request as a message."""
    message = ModelInferRequest(model_name=model, model_version=version)
    for name, datatype, array in inputs:
        message.inputs.add(name=name, datatype=datatype, shape=array.shape)
        message.raw_input_contents.append(encode_raw(array, datatype))
    for name in outputs:
        message.outputs.add(name=name)
    return message


@forty_examples
@given(names, names, st.lists(names, max_size=3), requests)
def test_requests_mean_what_protobuf_would_have_written(
    model: str, version: str, outputs: list[str], made: list[list[Fitted]]
) -> None:
    """One after the other from the same envelope, each of them twice."""
    envelope = Envelope(model, version, outputs)
    for inputs in made:
        expected = by_protobuf(model, version, outputs, inputs)
        for data in (envelope.request(inputs), envelope.request(inputs)):
            assert ModelInferRequest.FromString(data) == expected


def test_inputs_of_one_shape_are_told_apart() -> None:
    """By name and by type, where a model does not say what they are."""
    envelope = Envelope("m", "", ())
    array = np.arange(6, dtype="<f4").reshape(3, 2)
    for inputs in [
        [("a", "FP32", array)],
        [("b", "FP32", array)],
        [("b", "INT32", array.astype("<i4"))],
        [("a", "FP64", array.astype("<f8"))],
        [("a", "FP32", array)],
    ]:
        data = envelope.request(inputs)
        assert ModelInferRequest.FromString(data) == by_protobuf("m", "", [], inputs)


@forty_examples
@given(tensors())
def test_requests_have_the_bytes_of_protobuf(tensor: Fitted) -> None:
    """Field by field, so that even a reader that knows no other order is content."""
    data = Envelope("m", "1", ["y"]).request([tensor])

    assert data == by_protobuf("m", "1", ["y"], [tensor]).SerializeToString(deterministic=True)


def test_arrays_that_do_not_lie_row_by_row_are_written_row_by_row() -> None:
    """Columns, slices, and the other byte order."""
    envelope = Envelope("m", "", ())
    array = np.arange(12, dtype="<f4").reshape(3, 4)
    expected = envelope.request([("x", "FP32", array)])

    assert envelope.request([("x", "FP32", np.asfortranarray(array))]) == expected
    assert envelope.request([("x", "FP32", array[::-1][::-1])]) == expected
    assert envelope.request([("x", "FP32", array.astype(">f4"))]) == expected
    assert envelope.request([("x", "FP32", np.repeat(array, 2, axis=1)[:, ::2])]) == expected


def test_the_rows_of_several_are_written_one_after_the_other() -> None:
    """As if they had been one array, however each of them lies in memory."""
    envelope = Envelope("m", "", ())
    whole = np.arange(36, dtype="<f4").reshape(9, 4)
    strided = np.repeat(whole[5:], 2, axis=1)[:, ::2]
    expected = envelope.request([("x", "FP32", whole)])

    for parts in ([whole[:1], whole[1:5], whole[5:]], [whole[:5], strided], [strided]):
        rows = np.concatenate(parts)
        data = envelope.merged("x", "FP32", parts)
        assert data == envelope.request([("x", "FP32", rows)])
        assert (data == expected) == np.array_equal(rows, whole)


def test_ever_other_shapes_do_not_fill_the_memory(monkeypatch) -> None:
    """And are written all the same."""
    monkeypatch.setattr(_request, "_MOST_HEADS", 3)
    envelope = Envelope("m", "", ())
    for rows in (*range(1, 9), *range(1, 9)):
        tensor = ("x", "INT8", np.full((rows, 2), rows, np.int8))
        message = ModelInferRequest.FromString(envelope.request([tensor]))
        assert [rows, 2] == list(message.inputs[0].shape)
        assert [bytes([rows] * 2 * rows)] == list(message.raw_input_contents)
    assert len(envelope.heads) == 3
