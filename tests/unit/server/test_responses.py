"""Answers as bytes, held against the ordinary protobuf API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from isotherm.server.loader import Model
from isotherm.server.service.responses import Answer, ResponseEncoder
from isotherm.v1 import open_inference_pb2 as pb
from isotherm.v1.tensors import encode_raw
from tests.support import models
from tests.unit.server.fakes import FakeCall, served


def branching(outputs: int) -> onnx.ModelProto:
    """Return a model with outputs of different widths: y0 [batch, 1], y1 [batch, 2] and so on."""
    nodes, results = [], []
    for index in range(outputs):
        nodes.append(helper.make_node("Concat", ["x"] * (index + 1), [f"y{index}"], axis=1))
        results.append(
            helper.make_tensor_value_info(f"y{index}", TensorProto.FLOAT, ["batch", index + 1])
        )
    given_ = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1])
    graph = helper.make_graph(nodes, "graph", [given_], results)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    return model


def answer(rows: int, request_id: str = "", selection: tuple[int, ...] | None = None) -> Answer:
    """Return what a request wants back."""
    return Answer(FakeCall(), rows, request_id, selection)


def expected(
    model: Model, outputs: Sequence[Any], answers: Sequence[Answer]
) -> list[pb.ModelInferResponse]:
    """Build the answers one field at a time."""
    messages, start = [], 0
    for _, rows, request_id, selection, _ in answers:
        message = pb.ModelInferResponse(model_name=model.name, model_version=str(model.version))
        message.id = request_id
        for index, spec in enumerate(model.session.outputs):
            if selection is not None and index not in selection:
                continue
            part = outputs[index]
            if model.session.batched:
                part = part[start : start + rows]
            message.outputs.add(name=spec.name, datatype=spec.datatype, shape=part.shape)
            message.raw_output_contents.append(encode_raw(part))
        messages.append(message)
        start += rows
    return messages


def check(model: Model, outputs: Sequence[Any], answers: Sequence[Answer]) -> None:
    """Encode twice, the second time from what the first one kept, and compare."""
    encoder = ResponseEncoder(model)
    wanted = expected(model, outputs, answers)
    for _ in range(2):
        encoded = encoder.encode(outputs, answers)

        assert [pb.ModelInferResponse.FromString(data) for data in encoded] == wanted
        assert [len(data) for data in encoded] == [len(m.SerializeToString()) for m in wanted]


MODELS = {count: served(branching(count), name="branching", version=12) for count in (1, 2, 3)}


@pytest.mark.parametrize("outputs", [1, 2, 3])
@pytest.mark.parametrize("rows", [[1], [1, 1], [3, 1, 2], [1000], [127, 128, 16384]])
def test_an_answer_is_what_the_protobuf_api_would_write(outputs: int, rows: list[int]):
    """Any number of outputs and rows, and the same number of bytes."""
    model = MODELS[outputs]
    x = np.arange(sum(rows), dtype=np.float32)[:, np.newaxis]

    check(model, model.session.run([x]), [answer(count) for count in rows])


@given(
    outputs=st.integers(1, 3),
    wishes=st.lists(
        st.tuples(st.integers(1, 40), st.text(max_size=200), st.sets(st.integers(0, 2))),
        min_size=1,
        max_size=6,
    ),
)
def test_any_mixture_of_wishes_is_answered(outputs: int, wishes: list[tuple[int, str, set[int]]]):
    """Rows, ids and selections of every kind, side by side in one batch."""
    model = MODELS[outputs]
    answers = [
        answer(rows, request_id, tuple(sorted(i for i in chosen if i < outputs)) or None)
        for rows, request_id, chosen in wishes
    ]
    rows = sum(one.rows for one in answers)
    x = np.random.default_rng(rows).standard_normal((rows, 1)).astype(np.float32)

    check(model, model.session.run([x]), answers)


@pytest.mark.parametrize("request_id", ["", "7", "ünïcode", "x" * 127, "x" * 128, "x" * 20_000])
def test_the_requests_id_comes_back(request_id: str):
    """Whatever its length takes to write."""
    model = MODELS[1]

    check(model, model.session.run([np.ones((1, 1), np.float32)]), [answer(1, request_id)])


def test_outputs_that_were_not_asked_for_are_left_out():
    """Their raw contents too."""
    model = MODELS[3]
    (data,) = ResponseEncoder(model).encode(
        model.session.run([np.ones((1, 1), np.float32)]), [answer(1, selection=(2,))]
    )
    message = pb.ModelInferResponse.FromString(data)

    assert [output.name for output in message.outputs] == ["y2"]
    assert message.raw_output_contents == [np.ones(3, np.float32).tobytes()]


@pytest.mark.parametrize(
    ("model", "x"),
    [
        (models.identity(), np.array([["a"], ["größer"], [""]], np.object_)),
        (models.identity(TensorProto.FLOAT, ("n",)), np.arange(12, dtype=np.float32).reshape(3, 4)),
        (models.identity(TensorProto.FLOAT, ("n",)), np.zeros((3, 0), np.float32)),
        (models.identity(TensorProto.FLOAT16, (2,)), np.ones((3, 2), np.float16)),
        (models.identity(TensorProto.BOOL, (2, 2)), np.ones((3, 2, 2), np.bool_)),
        (models.identity(TensorProto.INT64, ()), np.arange(3)),
    ],
    ids=["text", "variable", "empty", "half", "bool", "vector"],
)
def test_every_kind_of_output_is_encoded(model: onnx.ModelProto, x: Any):
    """Text and free dimensions go the general way."""
    loaded = served(model)

    check(loaded, loaded.session.run([x]), [answer(1, "one"), answer(2)])


def test_the_answer_of_a_model_that_cannot_be_batched_is_whole():
    """Its request counts as one row, whatever its shape."""
    loaded = served(models.fixed_batch())

    check(loaded, loaded.session.run([np.ones((2, 3), np.float32)]), [answer(1, "id")])


def test_what_is_kept_is_bounded():
    """A client that sends every size once must not fill the memory."""
    model = MODELS[1]
    encoder = ResponseEncoder(model)
    outputs = [np.zeros((5000, 1), np.float32)]
    for rows in range(1, 5000):
        encoder.encode(outputs, [answer(rows)])

    assert len(encoder._heads) <= 4096


def test_text_that_a_batch_shares_is_split_by_rows():
    """Nobody gets another one's words."""
    model = served(models.identity())
    words = np.array([["a"], ["bb"], ["ccc"]], np.object_)
    messages = [
        pb.ModelInferResponse.FromString(data)
        for data in ResponseEncoder(model).encode([words], [answer(1), answer(2)])
    ]

    assert [list(message.raw_output_contents) for message in messages] == [
        [b"\x01\0\0\0a"],
        [b"\x02\0\0\0bb\x03\0\0\0ccc"],
    ]
