"""One ONNX Runtime session: what it says of the graph, and running it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from isotherm.server.errors import LoadError
from isotherm.server.placement import CPU
from isotherm.server.session import Session, TensorSpec
from isotherm.v1.tensors import DTYPES
from tests.support import models
from tests.unit.server.fakes import session


def graph(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    """Return a model that is not checked."""
    model = helper.make_model(
        helper.make_graph(nodes, "graph", inputs, outputs),
        opset_imports=[helper.make_opsetid("", 20)],
    )
    model.ir_version = 10
    return model


def test_the_signature_is_the_graphs():
    """Names, datatypes and shapes in the graph's order; a free dimension is -1."""
    loaded = session(models.simple())

    assert loaded.inputs == (
        TensorSpec("INPUT0", "INT32", (-1, 16)),
        TensorSpec("INPUT1", "INT32", (-1, 16)),
    )
    assert loaded.outputs == (
        TensorSpec("OUTPUT0", "INT32", (-1, 16)),
        TensorSpec("OUTPUT1", "INT32", (-1, 16)),
    )
    assert loaded.providers == (CPU,)


@pytest.mark.parametrize(
    ("elem_type", "datatype"),
    [
        (TensorProto.BOOL, "BOOL"),
        (TensorProto.UINT8, "UINT8"),
        (TensorProto.UINT16, "UINT16"),
        (TensorProto.UINT32, "UINT32"),
        (TensorProto.UINT64, "UINT64"),
        (TensorProto.INT8, "INT8"),
        (TensorProto.INT16, "INT16"),
        (TensorProto.INT32, "INT32"),
        (TensorProto.INT64, "INT64"),
        (TensorProto.FLOAT16, "FP16"),
        (TensorProto.FLOAT, "FP32"),
        (TensorProto.DOUBLE, "FP64"),
    ],
)
def test_every_datatype_goes_in_and_comes_out(elem_type: int, datatype: str):
    """The protocol's name, and the values unchanged."""
    loaded = session(models.identity(elem_type, (2,)))
    given = np.array([[0, 1], [1, 0]]).astype(DTYPES[datatype])
    (answer,) = loaded.run([given])

    assert loaded.inputs == (TensorSpec("INPUT0", datatype, (-1, 2)),)
    assert answer.dtype == given.dtype
    assert answer.tolist() == given.tolist()


def test_text_goes_in_and_comes_out_as_text():
    """The runtime knows only Unicode strings."""
    loaded = session(models.identity())
    (answer,) = loaded.run([np.array([["grün"], [""]], np.object_)])

    assert loaded.inputs[0].datatype == "BYTES"
    assert answer.tolist() == [["grün"], [""]]


def test_a_free_first_dimension_everywhere_makes_a_model_batched():
    """Otherwise the rows of several requests cannot run together."""
    two_rows = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 1]) for name in "xy"]
    free_in = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1])
    scalar = helper.make_tensor_value_info("y", TensorProto.FLOAT, [])
    total = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)
    copy = helper.make_node("Identity", ["x"], ["y"])
    found = [
        session(models.mlp()).batched,
        session(models.fixed_batch()).batched,
        session(graph([copy], [two_rows[0]], [two_rows[1]])).batched,
        session(graph([total], [free_in], [scalar])).batched,
    ]

    assert found == [True, False, False, False]


def test_the_metadata_is_the_files():
    """That is where a contract lies."""
    model = models.doubling()
    helper.set_model_props(model, {"key": "value"})

    assert session(model).metadata == {"key": "value"}


@pytest.mark.parametrize("data", [b"", b"no model", b"\xff" * 100, b'{"json": true}'])
def test_bytes_that_are_no_model_are_a_load_error_of_one_sentence(data: bytes):
    """The runtime's reason, without its prefixes."""
    with pytest.raises(LoadError) as error:
        Session(data, Path(), [(CPU, {})])

    assert str(error.value)
    assert "\n" not in str(error.value)
    assert "ONNXRuntimeError" not in str(error.value)


def test_an_unknown_operator_is_named():
    """One sentence again."""
    node = helper.make_node("NoSuchOperator", ["x"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    with pytest.raises(LoadError, match="NoSuchOperator") as error:
        session(graph([node], [values[0]], [values[1]]))

    assert "\n" not in str(error.value)


def test_a_tensor_that_the_protocol_cannot_carry_is_refused():
    """A sequence of tensors has no datatype."""
    output = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)
    node = helper.make_node("SequenceConstruct", ["x"], ["y"])
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1])
    with pytest.raises(LoadError) as error:
        session(graph([node], [given], [output]))

    assert str(error.value) == (
        "tensor 'y' has type seq(tensor(float)), which the protocol cannot carry"
    )


def test_weights_beside_the_file_are_found(tmp_path: Path):
    """External data is looked for in the version's folder."""
    weight = numpy_helper.from_array(np.full((1, 1), 3, np.float32), "w")
    model = graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1])],
    )
    model.graph.initializer.append(weight)
    path = tmp_path / "model.onnx"
    onnx.save_model(
        model, str(path), save_as_external_data=True, location="weights", size_threshold=0
    )
    (answer,) = Session(path.read_bytes(), tmp_path, [(CPU, {})]).run([np.ones((2, 1), "f4")])

    assert (tmp_path / "weights").is_file()
    assert answer.tolist() == [[3], [3]]


def test_a_failed_run_raises():
    """The runtime must not repeat it elsewhere in silence."""
    with pytest.raises(Exception, match="indices element out of data bounds"):
        session(models.lookup()).run([np.array([[9]])])
