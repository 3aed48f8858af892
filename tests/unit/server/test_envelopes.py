"""Envelopes: a message that is not parsed, or not copied, means what protobuf says it means."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from isotherm.server.service.envelopes import Envelopes, parse
from isotherm.v1 import open_inference_pb2 as pb
from isotherm.v1.wire import delimited, fields, varint

Tensor = pb.ModelInferRequest.InferInputTensor
RAW_TAG = b"\x3a"
LARGE = 20_000


def message(
    *values: float, name: str = "m", version: str = "", request_id: str = "", raws: int = 1
) -> pb.ModelInferRequest:
    """Return a request of one column, `raws` times."""
    array = np.array(values, np.float32)
    return pb.ModelInferRequest(
        model_name=name,
        model_version=version,
        id=request_id,
        inputs=[Tensor(name=f"x{n}", datatype="FP32", shape=(len(values), 1)) for n in range(raws)],
        raw_input_contents=[array.tobytes()] * raws,
    )


def learned(*requests: pb.ModelInferRequest) -> Envelopes:
    """Return envelopes that have seen some requests accepted."""
    envelopes = Envelopes()
    for request in requests:
        array = np.frombuffer(request.raw_input_contents[0], np.float32)[:, np.newaxis]
        envelopes.learn(request.SerializeToString(), request, array)
    return envelopes


@given(
    st.lists(st.floats(width=32), min_size=1, max_size=5),
    st.lists(st.floats(width=32), min_size=1, max_size=5),
    st.text(max_size=3),
    st.text(max_size=3),
)
def test_what_is_found_is_what_would_be_parsed(
    seen: list[float], asked: list[float], first_name: str, second_name: str
):
    """Other numbers, other names, other sizes: found where all but the numbers is equal."""
    request = message(*asked, name=second_name)
    known = learned(message(*seen, name=first_name)).find(request.SerializeToString())

    assert (known is not None) == (len(seen) == len(asked) and first_name == second_name)
    if known is not None:
        parsed = np.frombuffer(request.raw_input_contents[0], np.float32)
        found = known.array(request.SerializeToString())
        assert known.target == (second_name, "")
        assert found.shape == (len(asked), 1)
        assert found.tobytes() == parsed.tobytes()
        assert not found.flags.writeable


def test_many_are_known_at_a_time():
    """Also of one size: models whose names are equally long."""
    names = [f"model-{number:03}" for number in range(300)]
    envelopes = learned(*(message(1, name=name) for name in names))

    found = [envelopes.find(message(2, name=name).SerializeToString()) for name in names]

    assert [known.target[0] for known in found if known is not None] == names


def test_a_longer_message_that_begins_alike_is_not_known():
    """What follows the tensor may say anything, for example another model's name."""
    envelopes = learned(message(1), message(1, name="a-longer-name"))
    longer = message(1).SerializeToString() + message(1, name="other").SerializeToString()
    padded = message(1).SerializeToString() + b"\x1a\x0a" + b"0123456789"
    assert len(padded) == len(message(1, name="a-longer-name").SerializeToString())

    assert envelopes.find(longer) is None
    assert envelopes.find(padded) is None


def test_only_a_tensor_that_comes_last_is_learned():
    """Else the numbers would not be where they are looked for."""
    request = message(1)
    reordered = delimited(RAW_TAG, request.raw_input_contents[0]) + delimited(b"\x0a", b"m")
    envelopes = Envelopes()
    envelopes.learn(reordered, request, np.ones((1, 1), np.float32))

    assert envelopes.find(reordered) is None


def test_what_is_forgotten_is_not_found():
    """Models have changed: the same message may now be wrong."""
    envelopes = learned(message(1))
    assert envelopes.find(message(2).SerializeToString()) is not None

    envelopes.clear()

    assert envelopes.find(message(2).SerializeToString()) is None


def test_memory_is_bounded():
    """A caller that writes every request differently fills no memory."""
    envelopes = learned(*(message(1, name=str(number)) for number in range(10_000)))

    assert envelopes.find(message(2, name="9999").SerializeToString()) is not None
    assert envelopes.find(message(2, name="0").SerializeToString()) is None


@pytest.mark.parametrize("raws", [1, 2])
@pytest.mark.parametrize("rows", [1, LARGE])
def test_a_request_is_parsed_without_its_tensors(rows: int, raws: int):
    """Large ones are views on the message; the rest is as protobuf reads it."""
    request = message(*range(rows), request_id="7", raws=raws)
    data = request.SerializeToString()

    parsed, raw = parse(data)

    assert [bytes(one) for one in raw] == list(request.raw_input_contents)
    del parsed.raw_input_contents[:]
    expected = pb.ModelInferRequest()
    expected.CopyFrom(request)
    del expected.raw_input_contents[:]
    assert parsed == expected
    if rows == LARGE:
        assert all(isinstance(one, memoryview) and one.obj is data for one in raw)


def test_a_large_request_may_have_its_fields_in_any_order():
    """Whatever comes last counts, as in protobuf."""
    request = message(*range(LARGE))
    raw_first = delimited(RAW_TAG, request.raw_input_contents[0]) + delimited(b"\x0a", b"a")
    data = raw_first + message(name="b").SerializeToString()
    expected = pb.ModelInferRequest.FromString(data)

    parsed, raw = parse(data)

    assert parsed.model_name == expected.model_name == "b"
    assert parsed.inputs == expected.inputs
    assert [bytes(one) for one in raw] == list(expected.raw_input_contents)


@pytest.mark.parametrize(
    "tail",
    [b"\x3a\xff\xff\xff\x7f", b"\x3a", b"\x0f", b"\x80" * 11, b"\x0a\x02\xff\xff", b"\x0d\x00"],
    ids=["too long", "cut off", "wire type 7", "endless", "no UTF-8", "half a number"],
)
def test_what_is_no_message_is_refused(tail: bytes):
    """Of any size, as protobuf refuses it."""
    for size in (1, LARGE):
        data = message(*range(size)).SerializeToString() + tail
        with pytest.raises(DecodeError):
            pb.ModelInferRequest.FromString(data)
        with pytest.raises(DecodeError):
            parse(data)


def test_what_only_protobuf_can_read_is_left_to_it():
    """A group, say, which it skips: such a request is served, and parsed again each time."""
    group = b"\xa3\x06\xa4\x06"
    for size in (1, LARGE):
        request = message(*range(size))
        data = request.SerializeToString() + group

        _, raw = parse(data)
        envelopes = Envelopes()
        envelopes.learn(data, request, np.zeros((size, 1), np.float32))

        assert [bytes(one) for one in raw] == list(request.raw_input_contents)
        assert envelopes.find(data) is None


def test_a_raw_field_of_another_wire_type_is_no_tensor():
    """Protobuf takes it for a field that it does not know."""
    data = message(*range(LARGE)).SerializeToString() + b"\x38\x05"

    _, raw = parse(data)

    assert len(raw) == len(pb.ModelInferRequest.FromString(data).raw_input_contents) == 1


@given(st.lists(st.tuples(st.integers(1, 1 << 28), st.sampled_from([0, 1, 2, 5]), st.binary())))
def test_fields_are_found_where_they_lie(parts: list[tuple[int, int, bytes]]):
    """Any number, any wire type but groups."""
    data, expected = b"", []
    for number, kind, content in parts:
        tag = varint(number << 3 | kind)
        size = {0: 1, 1: 8, 2: len(content), 5: 4}[kind]
        head = tag + (varint(size) if kind == 2 else b"")
        data += head + (content if kind == 2 else b"\x01" * size)
        expected.append((number, kind, len(data) - size, len(data)))

    assert [tuple(field) for field in fields(data)] == expected
