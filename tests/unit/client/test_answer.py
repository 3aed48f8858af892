"""Answers read from their bytes: always what protobuf reads, whether they are parsed or known."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from isotherm.client import InvalidAnswerError, Prediction, _answer
from isotherm.client._answer import Reader
from isotherm.client._wire import bytes_head
from isotherm.v1.open_inference_pb2 import InferParameter, ModelInferResponse
from isotherm.v1.tensors import DTYPES, TensorError, decode_contents, decode_raw, encode_raw
from tests.unit.client.tensors_strategy import NUMERIC, forty_examples, names, tensors

parameters = st.dictionaries(
    names,
    st.booleans().map(lambda value: InferParameter(bool_param=value))
    | st.integers(-(2**63), 2**63 - 1).map(lambda value: InferParameter(int64_param=value))
    | names.map(lambda value: InferParameter(string_param=value)),
    max_size=2,
)
# An unknown field, or bytes of a field that is known: of any kind.
extra = st.builds(
    lambda field, raw: bytes_head(field, len(raw)) + raw,
    st.integers(1, 40),
    st.binary(max_size=12),
)


@st.composite
def messages(draw: st.DrawFn, datatypes: tuple[str, ...] = tuple(DTYPES)) -> ModelInferResponse:
    """Answers with raw outputs."""
    message = ModelInferResponse(
        model_name=draw(names), model_version=draw(names), id=draw(st.just("") | names)
    )
    _with_parameters(message, draw(parameters))
    for name, datatype, array in draw(st.lists(tensors(datatypes), min_size=1, max_size=4)):
        output = message.outputs.add(name=name, datatype=datatype, shape=array.shape)
        _with_parameters(output, draw(parameters))
        message.raw_output_contents.append(encode_raw(array, datatype))
    return message


@st.composite
def odd_messages(draw: st.DrawFn) -> ModelInferResponse:
    """Answers that fit together nearly, typed ones among them."""
    message: ModelInferResponse = draw(messages())
    oddity = draw(st.sampled_from(["raw", "shape", "datatype", "output", "typed"]))
    output = message.outputs[draw(st.integers(0, len(message.outputs) - 1))]
    if oddity == "raw":
        message.raw_output_contents[0] += draw(st.binary(min_size=1, max_size=5))
    elif oddity == "shape":
        output.shape.append(draw(st.integers(-1, 3)))
    elif oddity == "datatype":
        output.datatype = draw(st.sampled_from([*DTYPES, "FP8"]))
    elif oddity == "output":
        message.outputs.add(name="more", datatype="BOOL", shape=[0])
    else:
        output.datatype, output.shape[:] = "FP32", [2]
        output.contents.fp32_contents.extend([1.5, 2.5])
        if draw(st.booleans()):
            message.ClearField("raw_output_contents")
            del message.outputs[:]
            message.outputs.append(output)
    return message


def _with_parameters(message: Any, values: Mapping[str, InferParameter]) -> None:
    for name, value in values.items():
        message.parameters[name].CopyFrom(value)


def fields_of(data: bytes) -> Iterator[bytes]:
    """Yield a message's fields, each with its head: here all of them are of bytes."""
    start = 0
    while start < len(data):
        place, length, shift = start, 0, 0
        for part in ("head", "length"):
            length, shift = 0, 0
            while True:
                byte = data[place]
                place += 1
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            assert part == "length" or length & 7 == 2
        yield data[start : place + length]
        start = place + length


def by_protobuf(data: bytes, outputs: tuple[str, ...] = ()) -> object:
    """Return what parsing makes of an answer: its arrays as bytes, or that it cannot be read."""
    try:
        message = ModelInferResponse.FromString(data)
    except DecodeError:
        return "unreadable"
    raws = list(message.raw_output_contents)
    if not message.outputs or (raws and len(raws) != len(message.outputs)):
        return "unreadable"
    try:
        arrays = {
            output.name: decode_raw(output.name, output.datatype, output.shape, raws[place])
            if raws
            else decode_contents(output)
            for place, output in enumerate(message.outputs)
        }
    except TensorError:
        return "unreadable"
    if any(name not in arrays for name in outputs):
        return "unreadable"
    chosen = {name: arrays[name] for name in outputs or arrays}
    return _told(chosen, message.model_version)


def by_reader(reader: Reader, data: bytes) -> object:
    """Return what a reader makes of it, in the same way."""
    try:
        answer = reader.read(data)
    except InvalidAnswerError:
        return "unreadable"
    if isinstance(answer.result, Prediction):
        return _told(answer.result, answer.version)
    return _told({None: answer.result}, answer.version)


def _told(arrays: Mapping[Any, Any], version: str) -> object:
    told = [
        (
            name,
            array.dtype,
            array.shape,
            array.tolist() if array.dtype.kind == "O" else array.tobytes(),
        )
        for name, array in arrays.items()
    ]
    # One output comes without its name.
    return [each[1:] for each in told] if len(told) == 1 else told, version


@forty_examples
@given(st.data(), messages() | odd_messages())
def test_an_answer_is_read_as_protobuf_reads_it_however_it_is_written(
    data: st.DataObject, message: ModelInferResponse
) -> None:
    """Fields in any order, fields nobody knows, the same field twice; first parsed, then known."""
    written = message.SerializeToString()
    fields = list(fields_of(written))
    assert b"".join(fields) == written
    if data.draw(st.booleans(), "in another way"):
        fields = data.draw(st.permutations([*fields, *data.draw(st.lists(extra, max_size=2))]))
    written = b"".join(fields)
    expected = by_protobuf(written)
    reader = Reader(())

    assert [expected] * 3 == [by_reader(reader, written) for _ in range(3)]


@forty_examples
@given(st.data(), messages(NUMERIC))
def test_an_answer_of_the_same_length_is_never_taken_for_one_that_it_is_not(
    data: st.DataObject, message: ModelInferResponse
) -> None:
    """Any byte may differ: of the elements, of their lengths, or of what stands around them."""
    reader = Reader(())
    known = message.SerializeToString()
    by_reader(reader, known)
    changed = bytearray(known)
    for _ in range(data.draw(st.integers(1, 3), "changes")):
        place = data.draw(st.integers(0, len(changed) - 1), "place")
        changed[place] = data.draw(st.integers(0, 255), "byte")

    assert by_reader(reader, bytes(changed)) == by_protobuf(bytes(changed))
    assert by_reader(reader, known) == by_protobuf(known)


@forty_examples
@given(st.lists(messages(("FP32", "INT8", "BOOL")), min_size=2, max_size=5), st.randoms())
def test_answers_of_one_reader_do_not_mix(made: list[ModelInferResponse], random: Any) -> None:
    """Whatever came before, in whatever order."""
    reader = Reader(())
    written = [message.SerializeToString() for message in made] * 3
    random.shuffle(written)

    for data in written:
        assert by_reader(reader, data) == by_protobuf(data)


@forty_examples
@given(st.data(), messages())
def test_chosen_outputs_come_in_their_order_parsed_and_known(
    data: st.DataObject, message: ModelInferResponse
) -> None:
    """Or it is said that one is missing."""
    there = sorted({output.name for output in message.outputs})
    choice = st.lists(st.sampled_from([*there, "absent"]), min_size=1, max_size=3, unique=True)
    outputs = tuple(data.draw(choice))
    reader = Reader(outputs)
    written = message.SerializeToString()
    expected = by_protobuf(written, outputs)

    assert [expected] * 3 == [by_reader(reader, written) for _ in range(3)]


@forty_examples
@given(messages(NUMERIC))
def test_arrays_are_aligned_and_read_only(message: ModelInferResponse) -> None:
    """Also where the elements begin at an odd byte of the message."""
    reader = Reader(())
    written = message.SerializeToString()
    for _ in range(2):
        result = reader.read(written).result
        for array in result.values() if isinstance(result, Prediction) else [result]:
            assert array.flags.aligned
            assert array.flags.c_contiguous
            assert not array.flags.writeable


def test_only_the_elements_of_a_known_answer_are_looked_at(monkeypatch) -> None:
    """The second one of a kind is not parsed; one of another version is."""
    parsed = []
    real = ModelInferResponse.FromString

    class Counting:
        @staticmethod
        def FromString(data: bytes) -> ModelInferResponse:  # noqa: N802  protobuf's name
            parsed.append(data)
            return real(data)

    monkeypatch.setattr(_answer, "ModelInferResponse", Counting)
    reader = Reader(())
    written = [_of_two(version, number) for version, number in (("1", 1), ("1", 2), ("2", 3))]
    answers = [reader.read(data) for data in written]

    assert parsed == [written[0], written[2]]
    assert ["1", "1", "2"] == [answer.version for answer in answers]
    assert [1, 2, 3] == [_y(answer.result) for answer in answers]


def test_a_known_prediction_can_be_copied_and_pickled() -> None:
    """Though its arrays are made when they are asked for."""
    reader = Reader(())
    for _ in range(2):
        prediction = reader.read(_of_two("1", 7)).result
        assert isinstance(prediction, Prediction)
        for other in (copy.copy(prediction), copy.deepcopy(prediction), prediction):
            assert ["y", "n"] == list(other)
            assert len(other) == 2
            assert _y(other) == 7
        again = pickle.loads(pickle.dumps(prediction))  # noqa: S301  our own
        assert {name: array.tolist() for name, array in again.items()} == {"y": [[7]], "n": [7]}
        assert prediction["y"] is prediction.y
        assert "lower" not in prediction
        with pytest.raises(KeyError, match="lower"):
            _ = prediction["lower"]
        with pytest.raises(AttributeError, match="has no output 'lower', only y, n"):
            _ = prediction.lower


def test_large_answers_and_ever_other_ones_are_not_remembered(monkeypatch) -> None:
    """They are read all the same."""
    monkeypatch.setattr(_answer, "_MOST_LAYOUTS", 3)
    monkeypatch.setattr(_answer, "_LARGEST_BYTES", 200)
    reader = Reader(())
    for rows in (*range(1, 9), 100, 100):
        message = ModelInferResponse()
        message.outputs.add(name="y", datatype="UINT8", shape=[rows])
        message.raw_output_contents.append(bytes(range(rows)))
        result = reader.read(message.SerializeToString()).result
        assert isinstance(result, np.ndarray)
        assert list(range(rows)) == result.tolist()
    assert len(reader._layouts) == 3


def test_an_answer_that_is_no_message_is_an_invalid_answer(connect, server) -> None:
    """Something else answers at the address; each caller is told."""
    driver = connect()
    driver.ask("predict", "plane", [[0.0, 0.0, 0.0]])
    server.rewrite = lambda _: b"\xff\xff\xff"
    futures = [driver.call("predict", "plane", [[n, 0.0, 0.0]]) for n in range(20)]
    errors = [future.exception(10) for future in futures]

    assert all(isinstance(error, InvalidAnswerError) for error in errors)
    assert len({id(error) for error in errors}) == len(errors)
    server.rewrite = lambda data: data
    assert driver.ask("predict", "plane", [[5.0, 0.0, 0.0]]).item() == 5


def _of_two(version: str, number: int) -> bytes:
    message = ModelInferResponse(model_name="m", model_version=version)
    message.outputs.add(name="y", datatype="FP64", shape=[1, 1])
    message.outputs.add(name="n", datatype="INT32", shape=[1])
    message.raw_output_contents.append(np.array([number], "<f8").tobytes())
    message.raw_output_contents.append(np.array([number], "<i4").tobytes())
    return message.SerializeToString()


def _y(result: Any) -> float:
    return float(result.y.item())
