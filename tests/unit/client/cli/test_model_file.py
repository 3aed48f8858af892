"""Metadata of ONNX files, read without ONNX and compared with what ONNX writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from isotherm.client.cli import model_file
from isotherm.client.cli.failure import Failure

_VARINT_IR_VERSION = b"\x08\x0a"
_EMPTY_GRAPH = b"\x3a\x00"


def _model(**metadata):
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
    )
    model = helper.make_model(graph, producer_name="tests")
    helper.set_model_props(model, metadata)
    return model.SerializeToString()


@pytest.fixture(name="path")
def _path(tmp_path):
    return tmp_path / "model.onnx"


def test_metadata_comes_out_as_onnx_wrote_it(path):
    """Keys and values, of any length and in any script."""
    written = {"isotherm.contract": "{}" * 5000, "author": "李", "empty": ""}
    path.write_bytes(_model(**written))

    assert model_file.metadata(path) == written


def test_a_file_without_metadata_has_none(path):
    """An empty dictionary, no error."""
    path.write_bytes(_model())

    assert model_file.metadata(path) == {}


def test_every_truncation_is_seen(path):
    """A cut anywhere is an error, never a model with less metadata."""
    # The metadata comes last: a cut between its entries leaves a complete, shorter message, as
    # protobuf knows no end. One entry leaves no such place.
    whole = _model(key="value" * 10)
    start = whole.index(b"\x0a\x03key") - 2
    for size in range(start + 1, len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(Failure, match="not a complete ONNX file: it ends early"):
            model_file.metadata(path)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it has no graph"),
        (b"# a text file\n", "wire type 3"),
        (b"\x00\x00", "a field with number 0"),
        (b"\x80" * 11, "a number of more than 10 bytes"),
        (_VARINT_IR_VERSION, "it has no graph"),
        (_VARINT_IR_VERSION + b"\x3a\x7f", "it ends early, after 4 bytes"),
        (_VARINT_IR_VERSION + _EMPTY_GRAPH + b"\x72\xff\xff\xff\x7f", "at most 1052672 are read"),
        (_VARINT_IR_VERSION + _EMPTY_GRAPH + b"\x72\x04\x12\x02\xff\xfe", "can't decode byte"),
    ],
)
def test_what_is_no_onnx_file_is_refused_with_the_reason(path, data, reason):
    """One sentence, naming the file."""
    path.write_bytes(data)

    with pytest.raises(Failure, match=reason) as caught:
        model_file.metadata(path)
    assert str(path) in str(caught.value)


def test_fields_of_every_wire_type_are_skipped(path):
    """Later versions of ONNX may add fields of other types."""
    fixed64, fixed32 = b"\xf1\x07" + bytes(8), b"\xf5\x07" + bytes(4)
    path.write_bytes(_VARINT_IR_VERSION + fixed64 + _EMPTY_GRAPH + fixed32)

    assert model_file.metadata(path) == {}


def test_a_graph_of_any_size_is_skipped_without_reading_it(path):
    """Two gigabytes of zeros, of which a sparse file stores nothing."""
    size = 2 << 30
    length = b"\x80\x80\x80\x80\x08"
    entry = b"\x72\x06\x0a\x01k\x12\x01v"
    with path.open("wb") as file:
        file.write(_VARINT_IR_VERSION + b"\x3a" + length)
        file.seek(size, 1)
        file.write(entry)

    assert model_file.metadata(path) == {"k": "v"}


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail_in_another_way(tmp_path_factory, data):
    """Whatever the file holds: metadata, or a Failure."""
    path = tmp_path_factory.getbasetemp() / "fuzzed.onnx"
    path.write_bytes(data)
    try:
        assert isinstance(model_file.metadata(path), dict)
    except Failure as failure:
        assert "not a complete ONNX file" in str(failure)
