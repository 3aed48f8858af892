"""Fields of bytes as protobuf writes them."""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import UInt64Value
from hypothesis import given
from hypothesis import strategies as st

from isotherm.client._wire import bytes_head, varint
from isotherm.v1 import open_inference_pb2 as pb
from tests.unit.client.tensors_strategy import forty_examples


@forty_examples
@given(st.integers(1, 2**64 - 1) | st.sampled_from([1, 127, 128, 2**14 - 1, 2**14, 2**21, 2**63]))
def test_a_number_is_written_as_protobuf_writes_it(number: int) -> None:
    """In as many bytes as it needs."""
    assert b"\x08" + varint(number) == UInt64Value(value=number).SerializeToString()


def test_zero_takes_a_byte() -> None:
    """Protobuf leaves a field out that is zero, but not a length."""
    assert varint(0) == b"\x00"


@forty_examples
@given(st.integers(0, 70_000))
def test_the_head_of_a_field_is_what_protobuf_puts_before_its_bytes(length: int) -> None:
    """Those of one byte, and those whose length takes several."""
    raw = bytes(length)
    request = pb.ModelInferRequest(raw_input_contents=[raw])
    answer = pb.ModelInferResponse(raw_output_contents=[raw])

    assert bytes_head(7, length) + raw == request.SerializeToString()
    assert bytes_head(6, length) + raw == answer.SerializeToString()


@forty_examples
@given(st.integers(16, 2**29 - 1), st.binary(max_size=200))
def test_fields_of_high_numbers_are_skipped_as_unknown(field: int, raw: bytes) -> None:
    """Which protobuf can only do where the head is right."""
    data = bytes_head(field, len(raw)) + raw
    message = pb.ModelInferResponse.FromString(data + b"\x0a\x01m")

    assert message.model_name == "m"
