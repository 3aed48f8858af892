"""Tests of the ONNX file."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from onnxruntime import InferenceSession
from torch import Tensor, nn

from isotherm.trainer import export, run
from isotherm.trainer.config import TrainConfig
from isotherm.trainer.errors import ExportError
from isotherm.trainer.estimator import Fitted
from isotherm.trainer.layers import ACTIVATIONS, parse


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


def _exported(module: nn.Module) -> bytes:
    return export.to_onnx(
        module, name="made", features=1, input_name="x", output_names=["y"], properties={}
    )


def test_the_graph_scales_in_and_out_around_the_sequential(content: bytes) -> None:
    """Raw units in, raw units out, and an interval around them."""
    graph = onnx.load_from_string(content).graph

    assert [node.op_type for node in graph.node] == [
        *("Sub", "Div", "Gemm", "Tanh", "Gemm", "Mul", "Add"),
        *("Sub", "Add"),
    ]
    assert [tensor.name for tensor in (*graph.input, *graph.output)] == ["x", "y", "lower", "upper"]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "LogSigmoid" else pytest.mark.slow)
        for name in ACTIVATIONS
    ],
)
def test_every_activation_is_torch_s_far_from_zero_too(name: str) -> None:
    """A formula that overflows where torch's does not would answer infinity."""
    layer = parse(f"{name}(0.1, 0.0)" if name == "Threshold" else f"{name}()")
    x = torch.linspace(-2000.0, 2000.0, 801).unsqueeze(1)

    session = InferenceSession(_exported(nn.Sequential(layer)))

    served = session.run(["y"], {"x": x.numpy()})[0]
    np.testing.assert_allclose(served, layer(x).detach().numpy(), rtol=1e-5, atol=1e-5)


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


@pytest.mark.parametrize(
    ("shape", "kind", "expected"),
    [
        (["batch"], TensorProto.FLOAT, r"'x' has the shape \['batch'\], expected \[batch, columns"),
        ([], TensorProto.FLOAT, r"'x' has the shape \[\], expected \[batch, columns\]"),
        (["rows", 1], TensorProto.FLOAT, "axis 0 of 'x' is 'rows'"),
        (["batch", 1], TensorProto.DOUBLE, "'x' is DOUBLE, expected FLOAT"),
    ],
)
def test_tensors_that_are_no_rows_of_numbers_are_refused(
    shape: list[str | int], kind: int, expected: str
) -> None:
    """The sentence names the tensor and what it is."""
    with pytest.raises(ExportError, match=expected):
        export.check_tensor(helper.make_tensor_value_info("x", kind, shape))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    """In torch, and in the file: ONNX Runtime loads them, and answers NaN."""
    linear = nn.Linear(1, 1)
    with torch.no_grad():
        linear.weight.fill_(value)
    graph = _graph("Tanh", "batch")
    graph.graph.initializer.append(helper.make_tensor("w", TensorProto.FLOAT, [1], [value]))

    with pytest.raises(ExportError, match=r"weight '0\.weight' holds NaN or infinity"):
        _exported(nn.Sequential(linear))
    with pytest.raises(ExportError, match="weight 'w' holds NaN or infinity"):
        export.check(graph)


def test_weights_of_another_precision_are_refused() -> None:
    """The graph computes in float32; who casts says so."""
    with pytest.raises(ExportError, match=r"'0\.weight' is float64, .* call `\.float\(\)`"):
        _exported(nn.Sequential(nn.Linear(1, 1)).double())


def test_weights_in_another_file_are_refused() -> None:
    """A version is one file, and published by one rename."""
    graph = _graph("Tanh", "batch")
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    weight.data_location = TensorProto.EXTERNAL
    graph.graph.initializer.append(weight)

    with pytest.raises(ExportError, match="weight 'w' lies in another file"):
        export.check(graph)


class _Constant(nn.Module):
    """Answers without looking at its rows, in one of the shapes that a slip gives."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.answer = nn.Parameter(torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.answer * 2


@pytest.mark.parametrize("shape", [(), (1,), (2, 1)])
def test_a_module_that_ignores_its_batch_is_refused(shape: tuple[int, ...]) -> None:
    """Its answer has no row for each row."""
    with pytest.raises(ExportError, match=r"'y' has the shape|axis 0 of 'y' is 2"):
        _exported(_Constant(*shape))


def test_a_module_that_answers_with_one_number_a_row_needs_a_column() -> None:
    """[batch] is not [batch, 1]."""
    with pytest.raises(ExportError, match=r"'y' has the shape \['batch'\]"):
        _exported(nn.Sequential(nn.Linear(1, 1), nn.Flatten(0)))


class _Waves(nn.Module):
    """Has channels with an axis behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.statistics = nn.Conv1d(1, 4, 3, padding=1), nn.BatchNorm1d(4)
        self.last = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        channels = self.statistics(self.convolution(x.unsqueeze(1)).relu())
        answers: Tensor = self.last(channels.flatten(1))
        return answers


# Stands in a network twice.
_TWICE = nn.BatchNorm1d(4)


@pytest.mark.parametrize(
    ("module", "operations"),
    [
        (nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)), ["Gemm", "Gemm"]),
        (nn.Sequential(nn.BatchNorm1d(1), nn.Linear(1, 1)), ["Mul", "Add", "Gemm"]),
        (
            nn.Sequential(
                *(nn.Linear(1, 4), nn.ReLU(), _TWICE, nn.ReLU(), _TWICE),
                *(nn.Linear(4, 1), nn.Tanh(), nn.BatchNorm1d(1, eps=0.1, affine=False)),
            ),
            ["Gemm", "Relu", "Mul", "Add", "Relu", "Mul", "Add", "Gemm", "Tanh", "Mul", "Add"],
        ),
        (_Waves(), ["Unsqueeze", "Conv", "Relu", "Mul", "Add", "Reshape", "Gemm"]),
    ],
    ids=["folded", "first", "after others", "channels"],
)
def test_batch_statistics_are_folded_or_written_out(
    module: nn.Module, operations: list[str]
) -> None:
    """After a Linear they become part of it; elsewhere Mul and Add, which need no cuDNN."""
    torch.manual_seed(0)
    rows = 7 * torch.randn(50, 1) + 3
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d) and layer.affine:
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
    for _ in range(3):
        module(rows)
    content = _exported(module.eval())
    graph = export.parse(content).graph
    answers = InferenceSession(content).run(None, {"x": rows.numpy()})[0]

    assert [node.op_type for node in graph.node] == operations
    with torch.no_grad():
        np.testing.assert_allclose(answers, module(rows).numpy(), rtol=1e-5, atol=1e-6)
    # Nothing is left of what nobody takes.
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    assert {one.name for one in graph.initializer} <= taken
    assert {one.name for one in graph.value_info} <= taken
    assert [*export.notes(export.parse(content))] == []
    assert content == _exported(module)


def test_statistics_of_the_batch_itself_stay_and_are_told_of() -> None:
    """They are no constants; on CUDA such a node needs cuDNN."""
    model = export.parse(_exported(nn.BatchNorm1d(1, track_running_stats=False)))

    assert "BatchNormalization" in [node.op_type for node in model.graph.node]
    (note,) = export.notes(model)
    assert "nvidia-cudnn-cu13" in note


@pytest.mark.parametrize("training", [0, 1])
def test_a_node_that_still_trains_stays(training: int) -> None:
    """It does not answer by the statistics that it has."""
    names = ["gain", "bias", "mean", "variance"]
    node = helper.make_node(
        "BatchNormalization", ["x", *names], ["y"], epsilon=1e-5, training_mode=training
    )
    graph = _graph("Tanh", "batch").graph
    del graph.node[:]
    graph.node.append(node)
    graph.initializer.extend(
        helper.make_tensor(name, TensorProto.FLOAT, [1], [2.0]) for name in names
    )

    export._write_statistics_out(graph)

    found = [one.op_type for one in graph.node]
    assert found == (["BatchNormalization"] if training else ["Mul", "Add"])


def test_no_second_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter's default puts weights beside the model."""
    monkeypatch.chdir(tmp_path)

    _exported(nn.Sequential(nn.Linear(1, 64)))

    assert [] == list(tmp_path.iterdir())


@pytest.mark.slow
def test_other_processes_make_the_same_bytes(tmp_path: Path) -> None:
    """Two interpreters, in two folders, with other hash seeds; one moment, seed and table."""
    processes = []
    for number in ("1", "2"):
        folder = tmp_path / number
        folder.mkdir()
        command = [sys.executable, "-m", "isotherm.trainer", "thermometer", "--epochs", "20"]
        processes.append(
            subprocess.Popen(
                [*command, "--model", "network", "--no-draw", "--log-every", "0"],
                cwd=folder,
                env=os.environ | {"PYTHONHASHSEED": number, "SOURCE_DATE_EPOCH": "86400"},
                stdout=subprocess.DEVNULL,
            )
        )

    assert [0, 0] == [process.wait(100) for process in processes]
    first, second = (tmp_path / number / "models/thermometer/1/model.onnx" for number in "12")
    assert first.read_bytes() == second.read_bytes()


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
