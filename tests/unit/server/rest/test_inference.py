"""Requests in JSON to messages: whatever comes, it is a message or an error of 4xx."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.server.rest.inference import Form, compose, parse
from isotherm.server.rest.status import HttpError
from isotherm.v1 import open_inference_pb2 as pb
from isotherm.v1.tensors import DTYPES, decode_raw

# Leaves that are likely to be taken for what they are not.
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-3, 3)
    | st.floats()
    | st.text(st.characters(codec=None), max_size=4)
    | st.sampled_from(["NaN", "Infinity", "FP32", "x", *DTYPES])
)
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
)


def of_keys(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects with some of the keys, each well or badly filled."""
    return st.fixed_dictionaries({}, optional={k: v | ANYTHING for k, v in values.items()})


TENSOR = of_keys(
    name=st.just("x"),
    datatype=st.sampled_from([*DTYPES]),
    shape=st.lists(st.integers(0, 3), max_size=3),
    data=st.lists(LEAVES | st.lists(LEAVES, max_size=3), max_size=6),
    parameters=of_keys(binary_data_size=st.integers(0, 8), a=LEAVES),
)
REQUEST = of_keys(
    id=st.text(),
    inputs=st.lists(TENSOR, max_size=3),
    outputs=st.lists(of_keys(name=st.text(), parameters=of_keys(binary_data=st.booleans()))),
    parameters=of_keys(binary_data_output=st.booleans(), b=LEAVES),
)


@given(content=REQUEST, tail=st.binary(max_size=16), skew=st.integers(-2, 2))
def test_any_request_is_a_message_or_an_error_of_its_caller(
    content: Any, tail: bytes, skew: int
) -> None:
    """Nothing else is raised, and the sentence fits into a line of a log."""
    head = json.dumps(content).encode()
    try:
        message, _ = parse(head + tail, str(len(head) + skew), "m", "1")
    except HttpError as error:
        assert error.status == 400
        assert 10 < len(str(error)) < 1000
        return

    assert len(message.inputs) == len(message.raw_input_contents) or any(
        "shared_memory_region" in tensor.parameters for tensor in message.inputs
    )
    assert message.SerializeToString()


@given(body=st.binary(max_size=64), length=st.none() | st.text(max_size=4))
def test_any_bytes_are_a_message_or_an_error_of_their_caller(
    body: bytes, length: str | None
) -> None:
    """Also where they are no JSON at all."""
    with pytest.raises(HttpError) as error:
        parse(body, length, "m", "")

    assert error.value.status == 400


@given(
    data=st.data(),
    datatype=st.sampled_from([name for name in DTYPES if name not in {"FP16", "BF16"}]),
    shape=st.lists(st.integers(0, 3), min_size=1, max_size=3),
)
def test_what_goes_in_as_json_comes_out_as_json(
    data: st.DataObject, datatype: str, shape: list[int]
) -> None:
    """Flat or nested, for every type: the elements are the same, and so is their JSON."""
    dtype = DTYPES[datatype]
    count = int(np.prod(shape))
    elements: st.SearchStrategy[Any]
    if datatype == "BYTES":
        elements = st.text(st.characters(codec="utf-8"), max_size=5)
    elif datatype == "BOOL":
        elements = st.booleans()
    elif dtype.kind == "f":
        elements = st.floats(width=8 * dtype.itemsize)  # type: ignore[arg-type]
    else:
        limits = np.iinfo(dtype)
        elements = st.integers(int(limits.min), int(limits.max))
    values: list[Any] = data.draw(st.lists(elements, min_size=count, max_size=count))
    given_data: Any = values
    if data.draw(st.booleans()):
        array = np.empty(count, object)
        array[:] = values
        given_data = array.reshape(shape).tolist()
    tensor = {"name": "x", "datatype": datatype, "shape": shape, "data": given_data}
    message, form = parse(json.dumps({"inputs": [tensor]}).encode(), None, "m", "")
    (raw,) = message.raw_input_contents
    response = pb.ModelInferResponse(model_name="m", model_version="1")
    response.outputs.add(name="y", datatype=datatype, shape=shape)
    response.raw_output_contents.append(raw)
    answer = json.loads(compose(response, form).body)

    back = answer["outputs"][0]["data"]
    sent = [value.encode() for value in values] if datatype == "BYTES" else values
    expected = np.array(sent, dtype)
    found = decode_raw("x", datatype, (count,), raw)
    assert np.array_equal(found, expected, equal_nan=dtype.kind == "f")
    if dtype.kind == "f":
        # By its name or as a number: both are the same float.
        assert [str(float(value)) for value in back] == [str(float(value)) for value in values]
    else:
        assert back == values


def test_an_answer_without_an_id_has_none() -> None:
    """Nor parameters where there are none; those that there are keep their types."""
    response = pb.ModelInferResponse(model_name="m", model_version="3")
    bare = json.loads(compose(response, Form()).body)
    response.id = "7"
    response.parameters["a"].bool_param = False
    response.parameters["b"].double_param = 0.5
    full = json.loads(compose(response, Form()).body)

    assert bare == {"model_name": "m", "model_version": "3", "outputs": []}
    assert full == bare | {"id": "7", "parameters": {"a": False, "b": 0.5}}


def test_the_worker_is_asked_about_shared_memory() -> None:
    """It has the words for what it does not serve."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1]}
    parameters = {"shared_memory_region": "r", "shared_memory_byte_size": 4}
    body = json.dumps({"inputs": [tensor | {"parameters": parameters}]}).encode()
    message, _ = parse(body, None, "m", "")

    assert message.inputs[0].parameters["shared_memory_region"].string_param == "r"
    assert not message.raw_input_contents
