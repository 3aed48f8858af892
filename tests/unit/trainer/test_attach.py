"""Tests of the contract of an ONNX file of any origin."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from isotherm.trainer import attach, data, export, foreign
from isotherm.trainer.errors import TrainerError
from isotherm.trainer.foreign import Request
from isotherm.v1 import contract

ROWS = np.random.default_rng(0).uniform(0, 1, (20, 2))
COLUMNS = {
    "a": ROWS[:, 0],
    "b": ROWS[:, 1],
    "y": ROWS.sum(axis=1),
    "kind": np.where(ROWS[:, 0] > 0.5, "hot", "cold"),
}


def _model(op: str = "Gemm", columns: int = 1, axis: str | int | None = "N") -> onnx.ModelProto:
    """Return [N, 2] to [N, columns], as another exporter may write it."""
    shape: list[str | int | None] = [axis, 2]
    x = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("out", TensorProto.FLOAT, [axis, columns])
    weight = numpy_helper.from_array(np.ones((2, columns), np.float32), "w")
    node = helper.make_node(op, ["input.1", "w"] if op == "Gemm" else ["input.1"], ["out"])
    node.metadata_props.add(key="pkg.torch.onnx.stack_trace", value="/home/me/secret.py")
    graph = helper.make_graph([node], "other", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"owner": "somebody"})
    return model


def _write(tmp_path: Path, model: onnx.ModelProto) -> Path:
    path = tmp_path / "theirs.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def _attach(
    path: Path, created_at: datetime, target: str = "y", output: str = ""
) -> foreign.Foreign:
    table = data.table(COLUMNS, features=["a", "b"], targets=[target])
    return attach.of_file(path, table, Request(name="m", created_at=created_at, output=output))


def test_a_file_gets_a_contract_and_keeps_its_arithmetic(
    tmp_path: Path, created_at: datetime
) -> None:
    """Golden rows come from ONNX Runtime, and the file says so; its own notes stay, paths go."""
    model = _attach(_write(tmp_path, _model()), created_at)

    file = export.parse(model.content)
    properties = {entry.key: entry.value for entry in file.metadata_props}
    found = contract.loads(properties[contract.METADATA_KEY])
    assert (found.tensors.input, found.tensors.prediction) == ("input.1", "out")
    inputs = np.array(found.golden.inputs).reshape(-1, 2)
    np.testing.assert_allclose(found.golden.outputs, inputs.sum(axis=1), rtol=1e-5)
    assert properties["owner"] == "somebody"
    assert '"golden_by": "onnxruntime' in properties[foreign.EXPORT_KEY]
    assert b"secret.py" not in model.content
    assert file.opset_import[0].version == 17
    assert "not of torch" in " ".join(model.notes)


@pytest.mark.parametrize("axis", ["N", "batch", None])
def test_any_free_batch_axis_will_do(
    tmp_path: Path, created_at: datetime, axis: str | None
) -> None:
    """Exporters call it as they like, or nothing."""
    file = export.parse(_attach(_write(tmp_path, _model(axis=axis)), created_at).content)

    assert file.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_weights_beside_the_file_are_taken_inside(tmp_path: Path, created_at: datetime) -> None:
    """A version is one file."""
    path = tmp_path / "theirs.onnx"
    onnx.save(_model(), path, save_as_external_data=True, location="theirs.data", size_threshold=0)

    model = _attach(path, created_at)

    assert not export.parse(model.content).graph.initializer[0].external_data
    assert model.notes[0].startswith("its weights lay in another file")


def test_a_classifier_s_file_must_give_probabilities(tmp_path: Path, created_at: datetime) -> None:
    """Its arithmetic is not changed, so logits are refused."""
    shares = _attach(_write(tmp_path, _model("Softmax", 2)), created_at, "kind")

    assert list(shares.contract.targets[0].classes) == ["cold", "hot"]
    with pytest.raises(TrainerError, match=r"no probabilities of the sample's classes \(cold, hot"):
        _attach(_write(tmp_path, _model("Identity", 2)), created_at, "kind")


def _two_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 1]))


def _nan(model: onnx.ModelProto) -> None:
    value = numpy_helper.from_array(np.full((2, 1), np.nan, np.float32), "w")
    model.graph.initializer[0].CopyFrom(value)


def _wide(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3


def _double(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def _mixed(model: onnx.ModelProto) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["input.1"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["input.1", "mean"], ["centred"]),
        helper.make_node("Gemm", ["centred", "w"], ["out"]),
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_two_inputs, r"has 2 inputs \(input\.1, z\), expected one"),
        (_nan, "weight 'w' holds NaN"),
        (_wide, "takes 3 features, the sample has 2"),
        (_double, "'input.1' is DOUBLE, expected FLOAT"),
        (_mixed, "depends on the rows beside it"),
    ],
)
def test_a_graph_that_cannot_be_served_is_refused(
    tmp_path: Path,
    created_at: datetime,
    change: Callable[[onnx.ModelProto], None],
    expected: str,
) -> None:
    """The sentence says what is wrong with it."""
    model = _model()
    change(model)

    with pytest.raises(TrainerError, match=expected):
        _attach(_write(tmp_path, model), created_at)


def test_a_frozen_batch_axis_is_refused_with_the_way_out(
    tmp_path: Path, created_at: datetime
) -> None:
    """The file's weights cannot say what a free axis would mean inside."""
    with pytest.raises(TrainerError, match=r"fixed at 2; export .* dynamic_shapes"):
        _attach(_write(tmp_path, _model(axis=2)), created_at)


@pytest.mark.parametrize("content", [b"", b"no graph", None])
def test_a_file_that_is_no_onnx_is_refused(
    tmp_path: Path, created_at: datetime, content: bytes | None
) -> None:
    """Empty, something else, or not there."""
    path = tmp_path / "theirs.onnx"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(TrainerError, match=r"theirs\.onnx"):
        _attach(path, created_at)


def test_an_output_that_is_not_there_is_refused(tmp_path: Path, created_at: datetime) -> None:
    """The sentence lists those that are."""
    with pytest.raises(TrainerError, match="has no output 'scores', it has out"):
        _attach(_write(tmp_path, _model()), created_at, output="scores")
