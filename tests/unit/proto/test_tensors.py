"""The tensor codec: every datatype, raw and typed, there and back, and every refusal."""

from __future__ import annotations

import math
import struct

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from isotherm.v1 import tensors
from isotherm.v1.open_inference_pb2 import (
    InferTensorContents,
    ModelInferRequest,
    ModelInferResponse,
)
from isotherm.v1.tensors import TensorError

_FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}
_SIZES = {
    "BOOL": 1,
    "UINT8": 1,
    "INT8": 1,
    "UINT16": 2,
    "INT16": 2,
    "FP16": 2,
    "BF16": 2,
    "UINT32": 4,
    "INT32": 4,
    "FP32": 4,
    "UINT64": 8,
    "INT64": 8,
    "FP64": 8,
}
_NUMBERS = [name for name in tensors.DTYPES if name not in {"BF16", "BYTES"}]
_SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


def _arrays_of(datatype):
    return arrays.arrays(tensors.DTYPES[datatype], _SHAPES)


@st.composite
def _texts(draw):
    """An object array of bytes, of any shape."""
    shape = draw(_SHAPES)
    elements = draw(st.lists(st.binary(max_size=9), min_size=(n := math.prod(shape)), max_size=n))
    array = np.empty(n, object)
    array[:] = elements
    return array.reshape(shape)


def _input(datatype, shape, **contents):
    tensor = ModelInferRequest.InferInputTensor(name="x", datatype=datatype, shape=shape)
    if contents:
        tensor.contents.MergeFrom(InferTensorContents(**contents))
    return tensor


@pytest.mark.parametrize("datatype", _NUMBERS)
@settings(max_examples=25)
@given(st.data())
def test_raw_numbers_come_back_bit_by_bit(datatype, data):
    """Encoding and decoding is the identity, NaN payloads and signed zeros included."""
    array = data.draw(_arrays_of(datatype))

    back = tensors.decode_raw("x", datatype, array.shape, tensors.encode_raw(array))

    assert (array.dtype, array.shape) == (back.dtype, back.shape)
    assert array.tobytes() == back.tobytes()


@given(_texts())
def test_raw_bytes_come_back_as_they_were(array):
    """Any bytes, empty ones and trailing zeros included."""
    back = tensors.decode_raw("x", "BYTES", array.shape, tensors.encode_raw(array))

    assert array.shape == back.shape
    assert array.tolist() == back.tolist()


@pytest.mark.parametrize("datatype", _FIELDS)
@settings(max_examples=25)
@given(st.data())
def test_typed_numbers_come_out_as_they_went_in(datatype, data):
    """Every datatype with a typed field, through a message on the wire."""
    array = data.draw(_arrays_of(datatype))
    sent = _input(datatype, array.shape, **{_FIELDS[datatype]: array.ravel().tolist()})

    received = ModelInferRequest.InferInputTensor.FromString(sent.SerializeToString())
    back = tensors.decode_contents(received)

    assert (array.dtype, array.shape) == (back.dtype, back.shape)
    np.testing.assert_array_equal(array, back)


@given(_texts())
def test_typed_bytes_come_out_as_they_went_in(array):
    """One entry an element."""
    back = tensors.decode_contents(
        _input("BYTES", array.shape, bytes_contents=array.ravel().tolist())
    )

    assert array.shape == back.shape
    assert array.tolist() == back.tolist()


@pytest.mark.parametrize(("datatype", "size"), _SIZES.items())
def test_elements_have_the_protocols_sizes(datatype, size):
    """The table of the protocol, byte by byte."""
    raw = tensors.encode_raw(np.zeros(3, tensors.DTYPES[datatype]), datatype)

    assert size * 3 == len(raw)


def test_the_wire_is_little_endian_and_row_major():
    """What a C program on a common machine would write."""
    transposed = np.array([[1, 3], [2, 4]], ">i4").T

    assert struct.pack("<4i", 1, 2, 3, 4) == tensors.encode_raw(transposed)


@pytest.mark.parametrize("datatype", [*_NUMBERS, "BYTES"])
def test_a_datatypes_array_has_that_datatype(datatype):
    """The name follows from the type."""
    assert datatype == tensors.datatype_of(np.zeros(1, tensors.DTYPES[datatype]))


@pytest.mark.parametrize("dtype", [">f4", "=i8", "S3", "U3"])
def test_byte_order_and_text_width_do_not_matter_for_the_name(dtype):
    """The codec brings them into the protocol's form."""
    expected = {">f4": "FP32", "=i8": "INT64"}.get(dtype, "BYTES")

    assert expected == tensors.datatype_of(np.zeros(1, dtype))


@pytest.mark.parametrize("dtype", ["c8", "M8[s]", "V4"])
def test_a_type_without_a_name_is_refused(dtype):
    """Complex numbers, times and records do not exist on the wire."""
    with pytest.raises(TensorError, match="has no datatype in the protocol"):
        tensors.datatype_of(np.zeros(1, dtype))


@pytest.mark.parametrize("array", [np.array(["é", ""]), np.array(["é", ""], object)])
def test_text_is_sent_as_utf8(array):
    """Each element follows its length in bytes."""
    assert tensors.encode_raw(array) == b"\2\0\0\0\xc3\xa9\0\0\0\0"


@pytest.mark.parametrize("datatype", _NUMBERS)
def test_raw_numbers_are_a_read_only_view_of_the_message(datatype):
    """No copy is made, and nobody can write into the message's bytes."""
    raw = bytes(tensors.DTYPES[datatype].itemsize * 4)

    array = tensors.decode_raw("x", datatype, (2, 2), raw)

    assert np.shares_memory(np.frombuffer(raw, np.uint8), array)
    assert not array.flags.writeable


@given(arrays.arrays(np.uint16, st.integers(0, 20)))
def test_bf16_is_read_as_the_upper_half_of_a_float32(bits):
    """Any sixteen bits are a number; the array is float32."""
    array = tensors.decode_raw("x", "BF16", bits.shape, bits.tobytes())

    assert np.dtype("<f4") == array.dtype
    np.testing.assert_array_equal(bits.astype(np.uint32) << 16, array.view(np.uint32))


@given(arrays.arrays(np.float32, st.integers(0, 20)))
def test_bf16_is_rounded_as_others_round_it(array):
    """To the nearest, ties to even; NaN stays NaN and never becomes infinity."""
    raw = tensors.encode_raw(array, "BF16")

    reference = array.astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(reference, tensors.decode_raw("x", "BF16", array.shape, raw))


def test_a_nan_whose_payload_would_carry_over_stays_nan():
    """The bits 7fffffff round up to a negative zero, if nobody looks."""
    array = np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001], np.uint32).view(np.float32)

    raw = tensors.encode_raw(array, "BF16")

    assert np.isnan(tensors.decode_raw("x", "BF16", (3,), raw)).all()


def test_a_scalar_has_one_element():
    """An empty shape is one number."""
    assert tensors.decode_raw("x", "FP32", (), struct.pack("<f", 1.5))[()] == 1.5


def test_a_count_is_computed_without_overflow():
    """Python's integers have no end; 2**62 * 4 is not 0."""
    assert tensors.element_count("x", [2**62, 4]) == 2**64


@pytest.mark.parametrize(
    ("datatype", "shape", "raw", "message"),
    [
        ("FP32", (2,), bytes(7), "takes 8 bytes, got 7"),
        ("FP32", (2,), bytes(9), "takes 8 bytes, got 9"),
        ("BF16", (2,), bytes(8), "takes 4 bytes, got 8"),
        ("FP32", (2**62, 4), b"", "takes 73786976294838206464 bytes, got 0"),
        ("FP32", (-1,), b"", r"shape \[-1\]: every dimension must be zero or more"),
        ("fp32", (1,), bytes(4), "unknown datatype 'fp32', expected one of BOOL, UINT8"),
        ("", (1,), bytes(4), "unknown datatype ''"),
        ("BYTES", (1,), b"\1\0", "the length of BYTES element 0 is cut off"),
        ("BYTES", (1,), b"\2\0\0\0a", "BYTES element 0 should have 2 bytes, 1 are left"),
        ("BYTES", (2,), b"\0\0\0\0", "needs 2 BYTES elements, found 1"),
        ("BYTES", (1,), bytes(12), "needs 1 BYTES elements, found more than 1"),
        ("BYTES", (0,), bytes(4), "needs 0 BYTES elements, found more than 0"),
        ("BYTES", (1,), b"\xff\xff\xff\xff", "should have 4294967295 bytes, 0 are left"),
    ],
)
@pytest.mark.parametrize("kind", ["input", "output"])
def test_raw_bytes_that_do_not_fit_are_refused(kind, datatype, shape, raw, message):
    """The message names the tensor, what it needs and what it got."""
    with pytest.raises(TensorError, match=f"{kind} 'x'.*{message}"):
        tensors.decode_raw("x", datatype, shape, raw, kind=kind)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (_input("FP32", [2], fp32_contents=[1]), "needs 2 elements in fp32_contents, got 1"),
        (_input("FP32", [1], fp32_contents=[1, 2]), "needs 1 elements in fp32_contents, got 2"),
        (_input("FP32", [1], fp64_contents=[1]), "needs fp32_contents, found fp64_contents"),
        (_input("FP32", [1]), "needs fp32_contents, found no field"),
        (
            _input("FP32", [1], fp32_contents=[1], int_contents=[1]),
            "needs fp32_contents, found int_contents, fp32_contents",
        ),
        (_input("FP32", [0], int_contents=[1]), "needs fp32_contents, found int_contents"),
        (_input("FP16", [1], fp32_contents=[1]), "FP16 must be sent in raw_input_contents"),
        (_input("BF16", [1], bytes_contents=[b"12"]), "BF16 must be sent in raw_input_contents"),
        (_input("INT8", [1], int_contents=[128]), "has an element that INT8 cannot hold: 128"),
        (_input("INT16", [2], int_contents=[1, -32769]), "that INT16 cannot hold: -32769"),
        (_input("UINT8", [1], uint_contents=[2**32 - 1]), "that UINT8 cannot hold: 4294967295"),
        (_input("UINT16", [1], uint_contents=[65536]), "that UINT16 cannot hold: 65536"),
        (_input("FP32", [-1], fp32_contents=[1]), "every dimension must be zero or more"),
        (_input("STRING", [1], bytes_contents=[b""]), "has unknown datatype 'STRING'"),
    ],
)
def test_typed_contents_that_do_not_fit_are_refused(tensor, message):
    """The message names the field that was expected and the one that was found."""
    with pytest.raises(TensorError, match=f"input 'x'.*{message}"):
        tensors.decode_contents(tensor)


def test_an_outputs_contents_are_called_an_output():
    """The client reads with the same codec."""
    tensor = ModelInferResponse.InferOutputTensor(name="y", datatype="FP16", shape=[1])

    with pytest.raises(TensorError, match="output 'y' of type FP16 must be sent in raw_output_con"):
        tensors.decode_contents(tensor, kind="output")


@pytest.mark.parametrize("datatype", [*_FIELDS, "BYTES"])
def test_a_tensor_without_elements_needs_no_contents(datatype):
    """Nothing to send is nothing to refuse, raw or typed."""
    assert tensors.decode_contents(_input(datatype, [0, 3])).shape == (0, 3)
    assert tensors.decode_raw("x", datatype, (0, 3), b"").shape == (0, 3)


def test_contents_count_only_when_they_hold_values():
    """Some clients send an empty message beside raw bytes."""
    empty = _input("FP32", [1])
    empty.contents.SetInParent()

    assert empty.HasField("contents")
    assert not tensors.has_contents(empty)
    assert tensors.has_contents(_input("FP32", [1], fp32_contents=[0]))


@given(st.sampled_from(sorted(tensors.DTYPES)), st.binary(max_size=40), st.lists(st.integers()))
def test_no_bytes_make_it_fail_in_another_way(datatype, raw, shape):
    """Whatever a stranger sends: an array of that shape, or a TensorError."""
    try:
        array = tensors.decode_raw("x", datatype, shape, raw)
    except TensorError as error:
        assert "'x'" in str(error)
    else:
        assert tuple(shape) == array.shape
