"""ModelInfer: what is answered, and how every mistake is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest

from isotherm.v1 import open_inference_pb2 as pb
from tests.support.rpc import call, error_of, infer_request, outputs_of

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED

X = np.array([[1.0], [2.5], [-3.0]], np.float32)


def doubling(x: Any = X) -> pb.ModelInferRequest:
    """Return a good request for the model that doubles."""
    return infer_request("doubling", x=x)


def test_a_raw_request_is_answered_raw_with_names_version_and_id(channel: grpc.Channel) -> None:
    """The answer repeats the id, and names the version that the request left open."""
    request = doubling()
    request.id = "request-7"

    response = call(channel, "ModelInfer", request)

    assert ("doubling", "1", "request-7") == (
        response.model_name,
        response.model_version,
        response.id,
    )
    assert [("y", "FP32", [3, 1])] == [
        (output.name, output.datatype, list(output.shape)) for output in response.outputs
    ]
    assert not response.outputs[0].HasField("contents")
    np.testing.assert_array_equal(2 * X, outputs_of(response)["y"])


def test_a_request_without_id_is_answered_without_id(channel: grpc.Channel) -> None:
    """An empty id stays empty."""
    response = call(channel, "ModelInfer", doubling())

    assert response.id == ""


def test_a_typed_request_is_answered_raw(channel: grpc.Channel) -> None:
    """Typed elements go in, raw bytes come out: known clients read nothing else."""
    request = pb.ModelInferRequest(model_name="doubling")
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[3, 1])
    tensor.contents.fp32_contents.extend([1.0, 2.5, -3.0])

    response = call(channel, "ModelInfer", request)

    np.testing.assert_array_equal(2 * X, outputs_of(response)["y"])


def test_an_empty_contents_message_beside_raw_bytes_is_accepted(channel: grpc.Channel) -> None:
    """MLServer's client sends one."""
    request = doubling()
    request.inputs[0].contents.SetInParent()

    response = call(channel, "ModelInfer", request)

    np.testing.assert_array_equal(2 * X, outputs_of(response)["y"])


def test_inputs_may_come_in_any_order(channel: grpc.Channel) -> None:
    """Names decide which input is which."""
    a = np.arange(16, dtype=np.int32)[None]
    b = np.full((1, 16), 3, np.int32)

    response = call(channel, "ModelInfer", infer_request("simple", INPUT1=b, INPUT0=a))

    np.testing.assert_array_equal(a - b, outputs_of(response)["OUTPUT1"])


def test_requested_outputs_alone_are_answered(channel: grpc.Channel) -> None:
    """A request names the outputs it wants; their order is the model's."""
    a = np.arange(16, dtype=np.int32)[None]
    request = infer_request("simple", INPUT0=a, INPUT1=a)
    request.outputs.add(name="OUTPUT1")

    response = call(channel, "ModelInfer", request)

    assert ["OUTPUT1"] == [output.name for output in response.outputs]
    np.testing.assert_array_equal(np.zeros((1, 16)), outputs_of(response)["OUTPUT1"])


def test_a_request_larger_than_the_batch_limit_comes_back_whole(channel: grpc.Channel) -> None:
    """Rows beyond max_batch_size run in slices (Triton refuses them)."""
    x = np.arange(5000, dtype=np.float32)[:, None]

    response = call(channel, "ModelInfer", doubling(x))

    np.testing.assert_array_equal(2 * x, outputs_of(response)["y"])


def test_messages_over_four_mebibytes_are_answered(channel: grpc.Channel) -> None:
    """The default limit of gRPC is lifted in both directions."""
    x = np.zeros((1_500_000, 1), np.float32)

    response = call(channel, "ModelInfer", doubling(x), timeout=60)

    assert x.nbytes == len(response.raw_output_contents[0])


def test_a_compressed_request_is_understood(channel: grpc.Channel) -> None:
    """Compression is undone by the transport."""
    multicallable: Any = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelInferResponse.FromString,
    )

    response = multicallable(doubling(), timeout=10, compression=grpc.Compression.Gzip)

    np.testing.assert_array_equal(2 * X, outputs_of(response)["y"])


def test_text_comes_back_as_it_was_sent(channel: grpc.Channel) -> None:
    """BYTES carry their length, zeros and empty elements included."""
    request = pb.ModelInferRequest(model_name="text")
    tensor = request.inputs.add(name="INPUT0", datatype="BYTES", shape=[3, 1])
    tensor.contents.bytes_contents.extend([b"warm", b"", "köld".encode()])

    response = call(channel, "ModelInfer", request)

    np.testing.assert_array_equal(
        np.array([[b"warm"], [b""], ["köld".encode()]], object), outputs_of(response)["OUTPUT0"]
    )


def test_half_floats_travel_raw(channel: grpc.Channel) -> None:
    """FP16 has no typed field."""
    x = np.array([[0.5, -2.0]], np.float16)

    response = call(channel, "ModelInfer", infer_request("half", INPUT0=x))

    np.testing.assert_array_equal(x, outputs_of(response)["OUTPUT0"])


def test_rows_of_different_lengths_never_share_a_batch(channel: grpc.Channel) -> None:
    """A model with a free row dimension answers each shape as it came."""
    arrays = [np.full((2, length), length, np.float32) for length in (1, 2, 3) * 20]
    requests = [infer_request("variable", INPUT0=array) for array in arrays]

    with ThreadPoolExecutor(16) as pool:
        responses = list(pool.map(lambda request: call(channel, "ModelInfer", request), requests))

    for array, response in zip(arrays, responses, strict=True):
        np.testing.assert_array_equal(array, outputs_of(response)["OUTPUT0"])


def test_a_model_of_fixed_batch_is_run_request_by_request(channel: grpc.Channel) -> None:
    """Where the first dimension is fixed, nothing can be batched."""
    x = np.ones((2, 3), np.float32)

    with ThreadPoolExecutor(8) as pool:
        responses = list(
            pool.map(lambda _: call(channel, "ModelInfer", infer_request("fixed", x=x)), range(24))
        )

    for response in responses:
        np.testing.assert_array_equal(2 * x, outputs_of(response)["y"])


def test_every_caller_gets_its_own_rows(channel: grpc.Channel) -> None:
    """Many callers at once: batches are split where they were joined."""
    arrays = [np.full((1 + i % 5, 1), i, np.float32) for i in range(400)]

    with ThreadPoolExecutor(32) as pool:
        responses = list(
            pool.map(lambda array: call(channel, "ModelInfer", doubling(array)), arrays)
        )

    for array, response in zip(arrays, responses, strict=True):
        np.testing.assert_array_equal(2 * array, outputs_of(response)["y"])


def test_only_the_culprit_of_a_failed_batch_gets_the_error(channel: grpc.Channel) -> None:
    """An index outside the table fails in the runtime; those who shared its batch do not."""
    indices = [99 if i % 10 == 0 else i % 4 for i in range(120)]

    def look_up(index: int) -> float | grpc.StatusCode:
        request = infer_request("lookup", index=np.array([[index]], np.int64))
        try:
            return float(outputs_of(call(channel, "ModelInfer", request))["value"][0, 0])
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            return error.code()

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(look_up, indices))

    expected = [grpc.StatusCode.INTERNAL if index == 99 else float(index) for index in indices]
    assert expected == answers


def changed(**changes: Any) -> pb.ModelInferRequest:
    """Return the good request with fields of its first input replaced."""
    request = doubling()
    for name, value in changes.items():
        if name == "shape":
            request.inputs[0].shape[:] = value
        else:
            setattr(request.inputs[0], name, value)
    return request


def with_(change: Any) -> pb.ModelInferRequest:
    """Return the good request after `change(request)`."""
    request = doubling()
    change(request)
    return request


def typed(datatype: str, field: str, values: list[Any], shape: list[int]) -> pb.ModelInferRequest:
    """Return a typed request for the model that doubles."""
    request = pb.ModelInferRequest(model_name="doubling")
    tensor = request.inputs.add(name="x", datatype=datatype, shape=shape)
    getattr(tensor.contents, field).extend(values)
    return request


REFUSED: dict[str, tuple[pb.ModelInferRequest, grpc.StatusCode, str]] = {
    "unknown model": (
        infer_request("nobody", x=X),
        NOT_FOUND,
        "Request for unknown model: 'nobody'",
    ),
    "empty model name": (infer_request("", x=X), NOT_FOUND, "Request for unknown model: ''"),
    "unknown version": (
        with_(lambda r: setattr(r, "model_version", "99")),
        NOT_FOUND,
        "'doubling' version 99 is not found, served: 1",
    ),
    "version 0": (
        with_(lambda r: setattr(r, "model_version", "0")),
        NOT_FOUND,
        "version 0 is not found",
    ),
    "version that is no number": (
        with_(lambda r: setattr(r, "model_version", "abc")),
        INVALID,
        "'abc' is not a version of model 'doubling': expected a positive integer",
    ),
    "negative version": (
        with_(lambda r: setattr(r, "model_version", "-1")),
        INVALID,
        "'-1' is not a version",
    ),
    "unknown input": (
        infer_request("doubling", z=X),
        INVALID,
        "unexpected inference input 'z' for model 'doubling', expected 'x'",
    ),
    "missing input": (
        infer_request("simple", INPUT0=np.zeros((1, 16), np.int32)),
        INVALID,
        "expected 2 inputs but got 1 for model 'simple': missing 'INPUT1'",
    ),
    "extra input": (
        infer_request("doubling", x=X, z=X),
        INVALID,
        "unexpected inference input 'z'",
    ),
    "duplicate input": (
        with_(lambda r: (r.inputs.append(r.inputs[0]), r.raw_input_contents.append(X.tobytes()))),
        INVALID,
        "input 'x' already exists in request",
    ),
    "no input at all": (
        pb.ModelInferRequest(model_name="doubling"),
        INVALID,
        "expected 1 inputs but got 0",
    ),
    "unknown output": (
        with_(lambda r: r.outputs.add(name="q")),
        INVALID,
        "unexpected inference output 'q' for model 'doubling', expected 'y'",
    ),
    "duplicate output": (
        with_(lambda r: (r.outputs.add(name="y"), r.outputs.add(name="y"))),
        INVALID,
        "output 'y' already exists in request",
    ),
    "wrong width": (
        infer_request("doubling", x=np.zeros((3, 2), np.float32)),
        INVALID,
        "input 'x' of model 'doubling' has shape [-1, 1] (-1: any size), got [3, 2]",
    ),
    "wrong rank": (
        infer_request("doubling", x=np.zeros(3, np.float32)),
        INVALID,
        "has shape [-1, 1] (-1: any size), got [3]",
    ),
    "no shape": (changed(shape=[]), INVALID, "has shape [-1, 1] (-1: any size), got []"),
    "negative dimension": (changed(shape=[-3, 1]), INVALID, "got [-3, 1]"),
    "overflowing shape": (changed(shape=[1 << 62, 1]), INVALID, "byte size mismatch"),
    "no rows": (
        infer_request("doubling", x=np.zeros((0, 1), np.float32)),
        INVALID,
        "the request for model 'doubling' has no rows",
    ),
    "wrong datatype": (
        infer_request("doubling", x=X.astype(np.float64)),
        INVALID,
        "input 'x' of model 'doubling' is FP32, got 'FP64'",
    ),
    "unknown datatype": (
        changed(datatype="fp32"),
        INVALID,
        "is FP32, got 'fp32' (no datatype of the protocol)",
    ),
    "too few bytes": (
        with_(lambda r: r.raw_input_contents.__setitem__(0, X.tobytes()[:-1])),
        INVALID,
        "input byte size mismatch for input 'x': FP32 of shape [3, 1] takes 12 bytes, got 11",
    ),
    "too many bytes": (
        with_(lambda r: r.raw_input_contents.__setitem__(0, X.tobytes() + b"\0")),
        INVALID,
        "takes 12 bytes, got 13",
    ),
    "neither raw nor typed": (
        with_(lambda r: r.ClearField("raw_input_contents")),
        INVALID,
        "unable to find data for input tensor 'x'",
    ),
    "both raw and typed": (
        with_(lambda r: r.inputs[0].contents.fp32_contents.append(1.0)),
        INVALID,
        "contents field must not be specified when using raw_input_contents for 'x'",
    ),
    "surplus raw entry": (
        with_(lambda r: r.raw_input_contents.append(b"")),
        INVALID,
        "has 1 inputs and 2 raw_input_contents, expected one each",
    ),
    "typed count": (
        typed("FP32", "fp32_contents", [1.0, 2.0], [3, 1]),
        INVALID,
        "input 'x' of shape [3, 1] needs 3 elements in fp32_contents, got 2",
    ),
    "typed field": (
        typed("FP32", "fp64_contents", [1.0], [1, 1]),
        INVALID,
        "input 'x' of type FP32 needs fp32_contents, found fp64_contents",
    ),
    "NaN that the contract forbids": (
        doubling(np.array([[1.0], [np.nan]], np.float32)),
        INVALID,
        "row 1 of input 'x' has nan for 'reading'",
    ),
    "infinity that the contract forbids": (
        doubling(np.array([[np.inf]], np.float32)),
        INVALID,
        "row 0 of input 'x' has inf for 'reading'",
    ),
    "shared memory": (
        with_(
            lambda r: setattr(
                r.inputs[0].parameters["shared_memory_region"], "string_param", "region"
            )
        ),
        UNIMPLEMENTED,
        "input 'x': shared memory is not served",
    ),
    "classification of none": (
        with_(
            lambda r: setattr(
                r.outputs.add(name="y").parameters["classification"], "int64_param", 0
            )
        ),
        INVALID,
        "output 'y': classification must be an int64_param of 1 or more",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_request_is_refused_with_the_culprit_named(
    channel: grpc.Channel, case: str
) -> None:
    """Each mistake has its code, and one sentence with the culprit and what was expected."""
    request, expected_code, expected_text = REFUSED[case]

    code, text = error_of(channel, "ModelInfer", request)

    assert expected_code == code
    assert expected_text in text
    assert "\n" not in text


def test_nan_is_computed_where_no_contract_forbids_it(channel: grpc.Channel) -> None:
    """A plain ONNX file gets what it is sent, as on other servers."""
    response = call(channel, "ModelInfer", infer_request("mlp", x=np.array([[np.nan]], np.float32)))

    assert np.isnan(outputs_of(response)["y"]).all()


def test_bytes_that_are_no_request_are_refused(channel: grpc.Channel) -> None:
    """Undecodable bytes cost an error, and the server goes on."""
    multicallable: Any = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")

    with pytest.raises(grpc.RpcError) as caught:
        multicallable(b"\xff\xff\xff", timeout=10)

    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is INVALID
    np.testing.assert_array_equal(2 * X, outputs_of(call(channel, "ModelInfer", doubling()))["y"])


def test_a_version_may_be_given(channel: grpc.Channel) -> None:
    """The version that serves is answered by its number, also with a leading zero."""
    for version in ("1", "01"):
        request = doubling()
        request.model_version = version

        assert call(channel, "ModelInfer", request).model_version == "1"
