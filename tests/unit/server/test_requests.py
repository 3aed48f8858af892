"""ModelInfer requests as arrays: both forms of data, and every mistake by name."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from isotherm.server.errors import (
    InvalidRequestError,
    NonFiniteError,
    RequestError,
    UnsupportedError,
)
from isotherm.server.service.requests import RequestDecoder
from isotherm.v1 import open_inference_pb2 as pb
from isotherm.v1.contract_pb2 import MISSING_INDICATOR, NON_FINITE_ACCEPT
from isotherm.v1.tensors import Array, encode_raw
from tests.support import models
from tests.unit.server.fakes import served

Tensor = pb.ModelInferRequest.InferInputTensor


def fp32(*values: float, shape: tuple[int, ...] | None = None, name: str = "x") -> Tensor:
    """Return an input with typed elements, by default one column."""
    return Tensor(
        name=name,
        datatype="FP32",
        shape=(len(values), 1) if shape is None else shape,
        contents=pb.InferTensorContents(fp32_contents=values),
    )


def raw(
    *arrays: Any, names: tuple[str, ...] = ("x",), datatype: str = "FP32"
) -> pb.ModelInferRequest:
    """Return a request with its data in raw_input_contents."""
    return pb.ModelInferRequest(
        model_name="model",
        inputs=[
            Tensor(name=name, datatype=datatype, shape=np.shape(array))
            for name, array in zip(names, arrays, strict=True)
        ],
        raw_input_contents=[encode_raw(np.asarray(array)) for array in arrays],
    )


def column(*values: float) -> Any:
    """Return one FP32 column."""
    return np.array(values, np.float32)[:, np.newaxis]


def decoder(model: onnx.ModelProto | None = None, **changes: Any) -> RequestDecoder:
    """Return the decoder of a model, by default the one that doubles."""
    return RequestDecoder(served(models.doubling() if model is None else model, **changes))


def decode(
    request: pb.ModelInferRequest, model: onnx.ModelProto | None = None
) -> tuple[Sequence[Array], int, object]:
    """Decode a request with its raw tensors in it, as small ones come."""
    return decoder(model).decode(request, request.raw_input_contents)


def refused(
    request: pb.ModelInferRequest, model: onnx.ModelProto | None = None
) -> tuple[type[RequestError], str]:
    """Return the error that a request is refused with, and its text."""
    with pytest.raises(RequestError) as error:
        decode(request, model)
    return error.type, str(error.value)


def test_raw_data_is_decoded():
    """Rows count, and one input of fixed width needs no key."""
    arrays, rows, key = decode(raw(column(1, 2, 3)))

    assert [array.tolist() for array in arrays] == [[[1], [2], [3]]]
    assert (rows, key) == (3, None)


def test_raw_data_is_not_copied():
    """The array is a view on the message's bytes."""
    (array,), _, _ = decode(raw(column(1, 2, 3)))

    assert not array.flags.owndata
    assert not array.flags.writeable


def test_typed_data_is_decoded():
    """As raw data is."""
    arrays, rows, _ = decode(pb.ModelInferRequest(inputs=[fp32(1, 2)]))

    assert [array.tolist() for array in arrays] == [[[1], [2]]]
    assert arrays[0].dtype == np.float32
    assert rows == 2


def test_empty_contents_beside_raw_data_are_accepted():
    """Some clients always set the field."""
    request = raw(column(1, 2))
    request.inputs[0].contents.SetInParent()
    arrays, rows, _ = decode(request)

    assert arrays[0].tolist() == [[1], [2]]
    assert rows == 2


def test_parameters_that_mean_nothing_here_are_ignored():
    """KServe and MLServer clients send some."""
    request = raw(column(1))
    request.inputs[0].parameters["binary_data_size"].int64_param = 4
    request.inputs[0].parameters["content_type"].string_param = "np"

    assert decode(request)[1] == 1


def test_inputs_may_come_in_any_order():
    """Arrays leave in the model's; raw entries follow the request's."""
    ones, twos = np.full((2, 16), 1, np.int32), np.full((2, 16), 2, np.int32)
    request = raw(twos, ones, names=("INPUT1", "INPUT0"), datatype="INT32")
    arrays, rows, _ = decode(request, models.simple())

    assert [int(array[0, 0]) for array in arrays] == [1, 2]
    assert rows == 2


@pytest.mark.parametrize(
    ("elem_type", "datatype", "field", "values"),
    [
        (TensorProto.BOOL, "BOOL", "bool_contents", [True, False]),
        (TensorProto.INT8, "INT8", "int_contents", [-128, 127]),
        (TensorProto.INT16, "INT16", "int_contents", [-32768, 32767]),
        (TensorProto.INT32, "INT32", "int_contents", [-(2**31), 2**31 - 1]),
        (TensorProto.INT64, "INT64", "int64_contents", [-(2**63), 2**63 - 1]),
        (TensorProto.UINT8, "UINT8", "uint_contents", [0, 255]),
        (TensorProto.UINT16, "UINT16", "uint_contents", [0, 65535]),
        (TensorProto.UINT32, "UINT32", "uint_contents", [0, 2**32 - 1]),
        (TensorProto.UINT64, "UINT64", "uint64_contents", [0, 2**64 - 1]),
        (TensorProto.FLOAT, "FP32", "fp32_contents", [0.5, -2.0]),
        (TensorProto.DOUBLE, "FP64", "fp64_contents", [0.1, -1e300]),
        (TensorProto.STRING, "BYTES", "bytes_contents", [b"\x00a\x00", b""]),
    ],
)
def test_typed_and_raw_data_of_every_datatype_agree(elem_type, datatype, field, values):
    """The same values, whichever way they came."""
    model = models.identity(elem_type, (1,))
    typed = pb.ModelInferRequest(
        inputs=[
            Tensor(
                name="INPUT0",
                datatype=datatype,
                shape=(2, 1),
                contents=pb.InferTensorContents(**{field: values}),
            )
        ]
    )
    (array,), _, _ = decode(typed, model)
    (again,), _, _ = decode(raw(array, names=("INPUT0",), datatype=datatype), model)

    # ONNX strings are text: what is decoded is what the runtime takes.
    expected = [v.decode() if isinstance(v, bytes) else v for v in values]
    assert [row[0] for row in array.tolist()] == expected
    assert again.tolist() == array.tolist()
    assert again.dtype == array.dtype


def test_half_precision_comes_raw_only():
    """The protocol has no field for it."""
    half = models.identity(TensorProto.FLOAT16, (2,))
    given = np.array([[1.5, -2.0]], np.float16)
    (array,), _, _ = decode(raw(given, names=("INPUT0",), datatype="FP16"), half)
    typed = Tensor(name="INPUT0", datatype="FP16", shape=(1, 2))
    typed.contents.fp32_contents.extend([1.5, -2.0])

    assert array.tolist() == given.tolist()
    assert refused(pb.ModelInferRequest(inputs=[typed]), half) == (
        InvalidRequestError,
        "model 'model': input 'INPUT0' of type FP16 must be sent in raw_input_contents",
    )


def test_rows_of_variable_length_share_a_batch_only_with_their_like():
    """The key is the shape without its rows."""
    model = models.identity(TensorProto.FLOAT, ("length",))
    keys = [
        decode(raw(np.zeros(shape, np.float32), names=("INPUT0",)), model)[2]
        for shape in ((1, 3), (5, 3), (1, 4), (2, 0))
    ]

    assert keys == [((3,),), ((3,),), ((4,),), ((0,),)]


def test_a_model_that_cannot_be_batched_gets_its_request_as_it_is():
    """It counts as one row."""
    request = raw(np.ones((2, 3), np.float32))
    (array,), rows, key = decode(request, models.fixed_batch())

    assert (array.shape, rows, key) == ((2, 3), 1, None)


SHAPE = "input 'x' of model 'model' has shape [-1, 1] (-1: any size), got "


@pytest.mark.parametrize(
    ("shape", "data", "message"),
    [
        ((2,), 8, f"{SHAPE}[2]"),
        ((2, 2), 16, f"{SHAPE}[2, 2]"),
        ((2, 1, 1), 8, f"{SHAPE}[2, 1, 1]"),
        ((), 4, f"{SHAPE}[]"),
        ((-1, 1), 4, f"{SHAPE}[-1, 1]"),
        ((-2, -2), 16, f"{SHAPE}[-2, -2]"),
        ((1, 0), 0, f"{SHAPE}[1, 0]"),
        (
            (1 << 62, 1),
            4,
            "model 'model': input byte size mismatch for input 'x': FP32 of shape "
            "[4611686018427387904, 1] takes 18446744073709551616 bytes, got 4",
        ),
        (
            (2, 1),
            4,
            "model 'model': input byte size mismatch for input 'x': FP32 of shape [2, 1] takes 8 "
            "bytes, got 4",
        ),
        (
            (2, 1),
            12,
            "model 'model': input byte size mismatch for input 'x': FP32 of shape [2, 1] takes 8 "
            "bytes, got 12",
        ),
        (
            (2, 1),
            7,
            "model 'model': input byte size mismatch for input 'x': FP32 of shape [2, 1] takes 8 "
            "bytes, got 7",
        ),
        (
            (1, 1),
            0,
            "model 'model': input byte size mismatch for input 'x': FP32 of shape [1, 1] takes 4 "
            "bytes, got 0",
        ),
        ((0, 1), 0, "the request for model 'model' has no rows"),
    ],
)
def test_shapes_and_sizes_that_do_not_fit_are_refused(
    shape: tuple[int, ...], data: int, message: str
):
    """Rank, width, negative and overflowing dimensions, too few and too many bytes, no rows."""
    request = pb.ModelInferRequest(
        inputs=[Tensor(name="x", datatype="FP32", shape=shape)], raw_input_contents=[bytes(data)]
    )

    assert refused(request) == (InvalidRequestError, message)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (
            fp32(1, name="z"),
            "unexpected inference input 'z' for model 'model', expected 'x'",
        ),
        (
            fp32(1, name=""),
            "unexpected inference input '' for model 'model', expected 'x'",
        ),
        (
            Tensor(name="x", datatype="FP64", shape=(1, 1)),
            "input 'x' of model 'model' is FP32, got 'FP64'",
        ),
        (
            Tensor(name="x", datatype="fp32", shape=(1, 1)),
            "input 'x' of model 'model' is FP32, got 'fp32' (no datatype of the protocol)",
        ),
        (
            Tensor(name="x", datatype="", shape=(1, 1)),
            "input 'x' of model 'model' is FP32, got '' (no datatype of the protocol)",
        ),
        (
            Tensor(name="x", datatype="FP32", shape=(1, 1)),
            "unable to find data for input tensor 'x' of 'model'",
        ),
        (
            Tensor(name="x", datatype="FP32", shape=(1, 1), contents=pb.InferTensorContents()),
            "model 'model': input 'x' of type FP32 needs fp32_contents, found no field",
        ),
        (
            Tensor(
                name="x",
                datatype="FP32",
                shape=(1, 1),
                contents=pb.InferTensorContents(fp64_contents=[1]),
            ),
            "model 'model': input 'x' of type FP32 needs fp32_contents, found fp64_contents",
        ),
        (
            Tensor(
                name="x",
                datatype="FP32",
                shape=(1, 1),
                contents=pb.InferTensorContents(fp32_contents=[1], int_contents=[1]),
            ),
            "model 'model': input 'x' of type FP32 needs fp32_contents, found int_contents, "
            "fp32_contents",
        ),
        (
            fp32(1, shape=(2, 1)),
            "model 'model': input 'x' of shape [2, 1] needs 2 elements in fp32_contents, got 1",
        ),
        (
            fp32(1, 2, 3, shape=(2, 1)),
            "model 'model': input 'x' of shape [2, 1] needs 2 elements in fp32_contents, got 3",
        ),
        (
            fp32(1, shape=(1 << 62, 1)),
            "model 'model': input 'x' of shape [4611686018427387904, 1] needs 4611686018427387904 "
            "elements in fp32_contents, got 1",
        ),
        (fp32(shape=(0, 1)), "the request for model 'model' has no rows"),
    ],
)
def test_typed_inputs_that_do_not_fit_are_refused(tensor: Tensor, message: str):
    """Name, datatype, missing data, the wrong field, too few and too many elements."""
    assert refused(pb.ModelInferRequest(inputs=[tensor])) == (InvalidRequestError, message)


def test_a_request_without_inputs_is_refused():
    """What is missing is named."""
    assert refused(pb.ModelInferRequest()) == (
        InvalidRequestError,
        "expected 1 inputs but got 0 for model 'model': missing 'x'",
    )


def test_a_request_with_too_few_inputs_is_refused():
    """Only what is missing is named."""
    request = raw(np.zeros((1, 16), np.int32), names=("INPUT1",), datatype="INT32")

    assert refused(request, models.simple()) == (
        InvalidRequestError,
        "expected 2 inputs but got 1 for model 'model': missing 'INPUT0'",
    )


def test_an_input_that_comes_twice_is_refused():
    """Which one would count?"""
    request = pb.ModelInferRequest(inputs=[fp32(1), fp32(2)])

    assert refused(request) == (InvalidRequestError, "input 'x' already exists in request")


def test_an_input_too_many_is_refused():
    """By its name."""
    request = pb.ModelInferRequest(inputs=[fp32(1), fp32(2, name="z")])

    assert refused(request) == (
        InvalidRequestError,
        "unexpected inference input 'z' for model 'model', expected 'x'",
    )


@pytest.mark.parametrize("count", [1, 3])
def test_raw_entries_must_be_as_many_as_inputs(count: int):
    """Fewer and more alike."""
    zeros = np.zeros((1, 16), np.int32)
    request = raw(zeros, zeros, names=("INPUT0", "INPUT1"), datatype="INT32")
    del request.raw_input_contents[:]
    request.raw_input_contents.extend([bytes(64)] * count)

    assert refused(request, models.simple()) == (
        InvalidRequestError,
        f"the request for model 'model' has 2 inputs and {count} raw_input_contents, expected one "
        "each; unable to find data for input tensor",
    )


def test_contents_beside_raw_data_are_refused():
    """One form or the other."""
    request = raw(column(1))
    request.inputs[0].contents.fp32_contents.append(1)

    assert refused(request) == (
        InvalidRequestError,
        "contents field must not be specified when using raw_input_contents for 'x' for model "
        "'model'",
    )


def test_inputs_that_differ_in_their_rows_are_refused():
    """Each with its number."""
    request = raw(
        np.zeros((2, 16), np.int32),
        np.zeros((3, 16), np.int32),
        names=("INPUT0", "INPUT1"),
        datatype="INT32",
    )

    assert refused(request, models.simple()) == (
        InvalidRequestError,
        "the inputs of model 'model' differ in their number of rows: 'INPUT0' 2, 'INPUT1' 3",
    )


def test_an_integer_that_does_not_fit_is_refused():
    """Triton keeps the low bytes in silence."""
    tensor = Tensor(name="INPUT0", datatype="INT8", shape=(1, 1))
    tensor.contents.int_contents.append(300)
    error, text = refused(
        pb.ModelInferRequest(inputs=[tensor]), models.identity(TensorProto.INT8, (1,))
    )

    assert error is InvalidRequestError
    assert text.startswith("model 'model': input 'INPUT0' has an element that INT8 cannot hold: ")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "input 'INPUT0' needs 1 BYTES elements, found 0"),
        (
            struct.pack("<I", 1) + b"a" + struct.pack("<I", 0),
            "input 'INPUT0' needs 1 BYTES elements, found more than 1",
        ),
        (
            struct.pack("<I", 4) + b"abc",
            "input 'INPUT0': BYTES element 0 should have 4 bytes, 3 are left",
        ),
        (b"\x01\x00", "input 'INPUT0': the length of BYTES element 0 is cut off"),
    ],
)
def test_text_that_is_cut_off_or_miscounted_is_refused(data: bytes, message: str):
    """Elements are counted, and numbered from nought."""
    request = pb.ModelInferRequest(
        inputs=[Tensor(name="INPUT0", datatype="BYTES", shape=(1, 1))], raw_input_contents=[data]
    )

    assert refused(request, models.identity()) == (InvalidRequestError, f"model 'model': {message}")


@pytest.mark.parametrize("form", ["raw", "typed"])
def test_an_input_that_asks_for_what_is_not_served_is_told_so(form: str):
    """Never silence: the answer would be another than the one asked for."""
    request = raw(column(1)) if form == "raw" else pb.ModelInferRequest(inputs=[fp32(1)])
    request.inputs[0].parameters["shared_memory_region"].string_param = "region"
    message = "input 'x': shared memory is not served: send the tensor in the message"

    assert refused(request) == (UnsupportedError, message)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused_by_the_contract(value: float):
    """Row, feature and value are named."""
    model = models.with_contract(models.doubling(), models.doubling_contract())

    assert refused(raw(column(1, value, math.nan)), model) == (
        NonFiniteError,
        f"row 1 of input 'x' has {value} for 'reading': model 'model' was not trained on such "
        f"values{' (missing: refuse)' if math.isnan(value) else ''}",
    )


def test_a_missing_cell_is_taken_where_the_contract_takes_it_and_infinity_nowhere():
    """NaN is what the graph has a policy for; infinity is a broken sensor whatever it says."""
    contract = models.doubling_contract()
    contract.features[0].missing = MISSING_INDICATOR
    model = models.with_contract(models.doubling(), contract)

    (array,), rows, _ = decode(raw(column(1, math.nan)), model)

    assert rows == 2
    assert math.isnan(array[1, 0])
    assert refused(raw(column(math.nan, math.inf)), model) == (
        NonFiniteError,
        "row 1 of input 'x' has inf for 'reading': model 'model' was not trained on such values",
    )


def test_the_second_feature_is_named_when_it_is_the_culprit():
    """Not merely the tensor."""
    contract = models.doubling_contract()
    contract.features.add(name="humidity", datatype="FP32")
    contract.ClearField("golden")
    model = models.with_contract(models.mlp((2, 1)), contract)
    _, text = refused(raw(np.array([[1, 2], [3, math.nan]], np.float32)), model)

    assert text.startswith("row 1 of input 'x' has nan for 'humidity': ")


@pytest.mark.parametrize("contract", [None, models.doubling_contract(non_finite=NON_FINITE_ACCEPT)])
def test_a_value_that_is_not_finite_is_accepted_otherwise(contract):
    """Plain models take what they get, and so do contracts that say so."""
    model = models.doubling()
    if contract is not None:
        model = models.with_contract(model, contract)
    (array,), _, _ = decode(raw(column(math.nan, math.inf)), model)

    assert [str(row[0]) for row in array] == ["nan", "inf"]


def outputs(*names: str) -> pb.ModelInferRequest:
    """Return a request that asks for outputs."""
    wanted = pb.ModelInferRequest.InferRequestedOutputTensor
    return pb.ModelInferRequest(outputs=[wanted(name=name) for name in names])


@pytest.mark.parametrize(
    ("names", "selection"),
    [
        ((), None),
        (("OUTPUT0",), {0: 0}),
        (("OUTPUT1",), {1: 0}),
        (("OUTPUT1", "OUTPUT0"), {0: 0, 1: 0}),
    ],
)
def test_outputs_are_selected_in_the_models_order(names, selection):
    """None asks for all."""
    assert decoder(models.simple()).select_outputs(outputs(*names)) == selection


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("z",),
            "unexpected inference output 'z' for model 'model', expected 'OUTPUT0', 'OUTPUT1'",
        ),
        (("OUTPUT0", "OUTPUT0"), "output 'OUTPUT0' already exists in request"),
    ],
)
def test_outputs_that_are_unknown_or_doubled_are_refused(names, message: str):
    """By name, with what there is."""
    with pytest.raises(InvalidRequestError) as error:
        decoder(models.simple()).select_outputs(outputs(*names))

    assert str(error.value) == message


def test_an_output_that_asks_for_what_is_not_served_is_told_so():
    """As an input is."""
    request = outputs("y")
    request.outputs[0].parameters["shared_memory_region"].string_param = "region"
    with pytest.raises(UnsupportedError) as error:
        decoder().select_outputs(request)

    assert (
        str(error.value)
        == "output 'y': shared memory is not served: send the tensor in the message"
    )


def test_an_output_may_be_asked_for_as_classes():
    """With how many of them."""
    request = outputs("OUTPUT1", "OUTPUT0")
    request.outputs[0].parameters["classification"].int64_param = 3

    assert decoder(models.simple()).select_outputs(request) == {0: 0, 1: 3}


def test_an_outputs_other_parameters_are_ignored():
    """KServe clients send `binary_data`."""
    request = outputs("y")
    request.outputs[0].parameters["binary_data"].bool_param = True

    assert decoder().select_outputs(request) == {0: 0}


def test_text_that_is_not_utf_8_is_refused():
    """ONNX strings are text; in the runtime it would fail the whole batch."""
    model = models.identity()
    request = raw(np.array([[b"warm"], [b"\xff"]], object), names=("INPUT0",), datatype="BYTES")
    with pytest.raises(InvalidRequestError, match=r"'INPUT0' .* has an element that is not UTF-8"):
        decode(request, model)
