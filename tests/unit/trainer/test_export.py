"""Tests of the ONNX file."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from isotherm.trainer import export, run
from isotherm.trainer.config import TrainConfig
from isotherm.trainer.errors import ExportError
from isotherm.trainer.estimator import Fitted


class _Deciding(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        # Which way to go depends on the values, which a traced graph cannot say.
        return x if x.sum() > 0 else -x


def _graph(op: str, batch: str | int) -> onnx.ModelProto:
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 1]) for name in ("x", "y")
    ]
    node = helper.make_node(op, ["x"], ["y"], name="node_0")
    graph = helper.make_graph([node], "made", tensors[:1], tensors[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_the_graph_scales_in_and_out_around_the_sequential(content: bytes) -> None:
    """Raw units in, raw units out, and an interval around them."""
    graph = onnx.load_from_string(content).graph

    assert [node.op_type for node in graph.node] == [
        *("Sub", "Div", "Gemm", "Tanh", "Gemm", "Mul", "Add"),
        *("Sub", "Add"),
    ]
    assert [tensor.name for tensor in (*graph.input, *graph.output)] == ["x", "y", "lower", "upper"]


def test_the_batch_axis_is_free_on_every_tensor(content: bytes) -> None:
    """The first axis has the name `batch` instead of a size."""
    graph = onnx.load_from_string(content).graph
    axes = {
        tensor.type.tensor_type.shape.dim[0].dim_param for tensor in (*graph.input, *graph.output)
    }

    assert axes == {"batch"}


def test_the_file_says_nothing_of_where_it_was_made(content: bytes) -> None:
    """Neither paths nor code of the exporting machine are in it."""
    for leak in (str(Path(__file__).parents[3]), "/home", "site-packages", "stack_trace", ".py"):
        assert leak.encode() not in content
    assert len(content) < 10_000


def test_the_same_run_gives_the_same_bytes(
    fitted: Fitted, config: TrainConfig, created_at: datetime
) -> None:
    """Export twice, and compare byte by byte."""
    first, second = (run.build(fitted, config, created_at)[0] for _ in range(2))

    assert first == second


def test_dropout_in_the_graph_is_refused() -> None:
    """It would mean a model that was exported while training."""
    with pytest.raises(ExportError, match=r"'node_0' is a Dropout: .*\.eval"):
        export.check(_graph("Dropout", "batch"))


def test_a_frozen_batch_axis_is_refused() -> None:
    """The sentence names the tensor and its size."""
    with pytest.raises(ExportError, match="axis 0 of 'x' is 2, expected the free axis 'batch'"):
        export.check(_graph("Tanh", 2))


def test_a_graph_that_is_no_valid_onnx_is_refused() -> None:
    """An operator that ONNX does not have fails its checker."""
    with pytest.raises(ExportError, match="not valid ONNX"):
        export.check(_graph("Magic", "batch"))


def test_a_model_in_training_mode_is_exported_in_evaluation_mode() -> None:
    """Dropout does nothing when it serves, so it is not in the graph."""
    content = export.to_onnx(
        nn.Sequential(nn.Linear(2, 3), nn.Dropout(), nn.Linear(3, 1)).train(),
        name="made",
        features=2,
        input_name="x",
        output_names=["y"],
        properties={},
    )

    assert [node.op_type for node in onnx.load_from_string(content).graph.node] == ["Gemm", "Gemm"]


def test_a_module_that_onnx_cannot_express_is_refused() -> None:
    """The sentence says that it is torch's exporter that gives up."""
    with pytest.raises(ExportError, match="torch cannot export the model"):
        export.to_onnx(
            _Deciding(), name="made", features=1, input_name="x", output_names=["y"], properties={}
        )


def test_the_caller_keeps_its_random_state(fitted: Fitted) -> None:
    """A served model answers without drawing random numbers."""
    before = torch.random.get_rng_state()

    fitted.served.answers(fitted.table.x)

    assert torch.equal(before, torch.random.get_rng_state())
