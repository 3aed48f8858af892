"""Request parameters, and the classification extension."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest

from isotherm.v1 import open_inference_pb2 as pb
from tests.support.rpc import call, error_of, infer_request, outputs_of

X = np.array([[1.0]], np.float32)


def with_parameter(name: str, kind: str | None, value: Any = None) -> pb.ModelInferRequest:
    """Return a good request with one parameter, or with one that holds nothing."""
    request = infer_request("doubling", x=X)
    if kind is None:
        request.parameters[name].SetInParent()
    else:
        setattr(request.parameters[name], kind, value)
    return request


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("priority", "uint64_param", 1),
        ("priority", "int64_param", 0),
        ("timeout", "int64_param", 5_000_000),
        ("timeout", "int64_param", 0),
        ("sequence_id", "int64_param", 7),
        ("sequence_id", "string_param", "seven"),
        ("sequence_start", "bool_param", True),
        ("triton_enable_empty_final_response", "bool_param", True),
        ("my_own", "string_param", "anything"),
        ("my_own", "double_param", 0.5),
        ("binary_data_output", "bool_param", True),
    ],
)
def test_a_parameter_that_clients_send_is_accepted(
    channel: grpc.Channel, name: str, kind: str, value: Any
) -> None:
    """Known ones of the right type, and all that are the caller's own."""
    answer = call(channel, "ModelInfer", with_parameter(name, kind, value))

    np.testing.assert_array_equal(2 * X, outputs_of(answer)["y"])


@pytest.mark.parametrize(
    ("name", "kind", "value", "text"),
    [
        ("priority", "string_param", "high", "'priority' must be int64_param or uint64_param"),
        ("priority", "int64_param", -1, "'priority' is -1, expected 0 or more"),
        ("timeout", "uint64_param", 5, "'timeout' must be int64_param, got uint64_param"),
        ("sequence_start", "int64_param", 1, "'sequence_start' must be bool_param"),
        ("triton_made_up", "int64_param", 1, "'triton_made_up' is unknown"),
        ("my_own", "uint64_param", 1, "'my_own' must be int64_param or bool_param"),
        ("my_own", None, None, "got nothing"),
    ],
)
def test_a_parameter_of_the_wrong_type_is_refused(
    channel: grpc.Channel, name: str, kind: str | None, value: Any, text: str
) -> None:
    """By its name, with what it may be."""
    code, details = error_of(channel, "ModelInfer", with_parameter(name, kind, value))

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text in details


def classified(model: str, output: str, count: int, **inputs: Any) -> pb.ModelInferRequest:
    """Return a request for the largest elements of one output."""
    request = infer_request(model, **inputs)
    request.outputs.add(name=output).parameters["classification"].int64_param = count
    return request


def test_the_largest_elements_come_as_text(channel: grpc.Channel) -> None:
    """Value with six digits and index, in falling order, the first of equal ones first."""
    x = np.array([[0.5, 2.0], [3.0, 3.0]], np.float32)

    answer = call(channel, "ModelInfer", classified("variable", "OUTPUT0", 2, INPUT0=x))

    (output,) = answer.outputs
    assert ("BYTES", [2, 2]) == (output.datatype, list(output.shape))
    assert [[b"2.000000:1", b"0.500000:0"], [b"3.000000:0", b"3.000000:1"]] == outputs_of(answer)[
        "OUTPUT0"
    ].tolist()


def test_whole_numbers_come_without_digits_and_beside_plain_outputs(
    channel: grpc.Channel,
) -> None:
    """Each output is asked for in its own way; no more classes than there are elements."""
    a = np.arange(16, dtype=np.int32)[None]
    request = classified("simple", "OUTPUT0", 99, INPUT0=a, INPUT1=a)
    request.outputs.add(name="OUTPUT1")

    answer = outputs_of(call(channel, "ModelInfer", request))

    assert (1, 16) == answer["OUTPUT0"].shape
    assert answer["OUTPUT0"][0, :2].tolist() == [b"30:15", b"28:14"]
    np.testing.assert_array_equal(np.zeros((1, 16)), answer["OUTPUT1"])


def test_labels_of_the_contract_are_appended(channel: grpc.Channel) -> None:
    """A classifier's columns have names."""
    x = np.array([[0.25], [0.75]], np.float32)

    answer = call(channel, "ModelInfer", classified("labelled", "y", 1, x=x))

    assert [[b"0.750000:0:cold"], [b"0.750000:1:warm"]] == outputs_of(answer)["y"].tolist()


def test_types_that_cannot_be_ranked_are_refused(channel: grpc.Channel) -> None:
    """As Triton says it."""
    x = np.zeros((1, 2), np.float16)

    code, details = error_of(channel, "ModelInfer", classified("half", "OUTPUT0", 1, INPUT0=x))

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "class result not available for output due to unsupported type" in details
