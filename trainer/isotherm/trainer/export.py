"""The ONNX file: one graph with a free batch axis, and nothing in it of where it was made."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from typing import Any, Final

import numpy as np
import onnx
import torch
from onnxscript import opset18
from torch import nn

from isotherm.trainer.errors import ExportError
from isotherm.v1.contract import METADATA_KEY, loads
from isotherm.v1.contract_pb2 import Contract

BATCH: Final = "batch"

# Two rows: an axis of length one could be taken for a constant.
_EXAMPLE_ROWS: Final = 2

_RANK: Final = 2


def to_onnx(
    module: nn.Module,
    *,
    name: str,
    features: int,
    input_name: str,
    output_names: Sequence[str],
    properties: Mapping[str, str],
) -> bytes:
    """Export `module` in evaluation mode; the same module and properties give the same bytes.

    Args:
        module: from float32 (batch, features) to one tensor (batch, targets) an output name.
        name: of the graph.
        features: the width of the input.
        input_name: of the graph's one input.
        output_names: of the graph's outputs, in the module's order.
        properties: the file's metadata.

    Raises:
        ExportError: torch cannot express the module, or the graph fails `check`.
    """
    check_weights(module)
    model = _traced(module, features, input_name, output_names)
    strip(model)
    _write_statistics_out(model.graph)
    model.producer_name, model.producer_version = "isotherm", metadata.version("isotherm")
    model.graph.name = name
    onnx.helper.set_model_props(model, dict(sorted(properties.items())))
    check(model)
    return model.SerializeToString(deterministic=True)


def check_weights(module: nn.Module) -> None:
    """Raise ExportError unless all floating weights are finite and 32 bits wide."""
    named = (*module.named_parameters(), *module.named_buffers())
    for name, value in named:
        if not value.is_floating_point():
            continue
        if value.dtype != torch.float32:
            found = str(value.dtype).removeprefix("torch.")
            msg = f"weight '{name}' is {found}, the graph computes in float32; call `.float()`"
            raise ExportError(msg)
        if not value.isfinite().all():
            msg = f"weight '{name}' holds NaN or infinity; train again with a lower learning rate"
            raise ExportError(msg)


def check(model: onnx.ModelProto) -> None:
    """Raise ExportError unless the graph is valid, self-contained, and maps rows to rows.

    One input [batch, features] of float32, outputs [batch, columns], the first axis free; finite
    weights inside the file; no Dropout.
    """
    for tensor in (*model.graph.input, *model.graph.output):
        check_tensor(tensor)
    check_graph(model)


def check_graph(model: onnx.ModelProto) -> None:
    """Raise ExportError unless the graph is valid and self-contained, without Dropout or NaN."""
    for node in model.graph.node:
        if node.op_type == "Dropout":
            msg = f"node '{node.name}' is a Dropout: the model must be exported after `.eval()`"
            raise ExportError(msg)
    for weight in model.graph.initializer:
        _check_weight(weight)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        msg = f"the exported graph is not valid ONNX: {error}"
        raise ExportError(msg) from error


def parse(content: bytes) -> onnx.ModelProto:
    """Return the model of a file."""
    return onnx.load_model_from_string(content)


def contract_of(content: bytes) -> Contract:
    """Return the contract of a file that has one."""
    properties = {entry.key: entry.value for entry in parse(content).metadata_props}
    return loads(properties[METADATA_KEY])


def notes(model: onnx.ModelProto) -> Iterator[str]:
    """Yield what whoever serves the graph may want to know of it."""
    if any(node.op_type == "BatchNormalization" for node in model.graph.node):
        yield (
            "it has a BatchNormalization node, which ONNX Runtime runs on CUDA by cuDNN alone: "
            "there, `pip install nvidia-cudnn-cu13`"
        )


def check_tensor(tensor: onnx.ValueInfoProto) -> None:
    """Raise ExportError unless an input or output is float32 of shape [batch, columns]."""
    kind = tensor.type.tensor_type
    if len(kind.shape.dim) != _RANK:
        shape = [axis.dim_param or axis.dim_value for axis in kind.shape.dim]
        msg = f"'{tensor.name}' has the shape {shape}, expected [{BATCH}, columns]"
        raise ExportError(msg)
    axis = kind.shape.dim[0]
    if axis.dim_param != BATCH:
        found = axis.dim_param or axis.dim_value
        msg = (
            f"axis 0 of '{tensor.name}' is {found!r}, expected the free axis '{BATCH}': "
            "a row out for each row in"
        )
        raise ExportError(msg)
    if kind.elem_type != onnx.TensorProto.FLOAT:
        found = onnx.TensorProto.DataType.Name(kind.elem_type)
        msg = f"'{tensor.name}' is {found}, expected FLOAT (32 bits)"
        raise ExportError(msg)


def _check_weight(weight: onnx.TensorProto) -> None:
    if weight.data_location == onnx.TensorProto.EXTERNAL:
        msg = f"weight '{weight.name}' lies in another file; a served model is one file"
        raise ExportError(msg)
    values = onnx.numpy_helper.to_array(weight)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        # ONNX Runtime would load it, and answer NaN.
        msg = f"weight '{weight.name}' holds NaN or infinity, and so would every answer"
        raise ExportError(msg)


def _traced(
    module: nn.Module, features: int, input_name: str, output_names: Sequence[str]
) -> onnx.ModelProto:
    module.eval()
    try:
        with _quiet_exporter():
            program = torch.onnx.export(
                module,
                (torch.zeros(_EXAMPLE_ROWS, features),),
                dynamo=True,
                # Without this the example's batch size is frozen into the graph, silently.
                dynamic_shapes=({0: BATCH},),
                # The default writes the weights to a second file.
                external_data=False,
                verbose=False,
                custom_translation_table={torch.ops.aten.log_sigmoid.default: _log_sigmoid},
                input_names=[input_name],
                output_names=list(output_names),
            )
    except torch.onnx.errors.OnnxExporterError as error:
        # torch's own text is a page of advice for its developers; its cause says what happened.
        cause = error.__cause__ or error
        reason = str(cause).partition("\n")[0]
        msg = f"torch cannot export the model: {reason}; build it from layers that ONNX has"
        raise ExportError(msg) from error
    if program is None:
        msg = "torch.onnx.export returned no program. This is a bug."
        raise ExportError(msg)
    return program.model_proto


def _write_statistics_out(graph: onnx.GraphProto) -> None:
    """Write each BatchNormalization that follows no Linear layer as Mul and Add.

    ONNX Runtime runs it on CUDA by cuDNN alone, which no other node of a network needs.
    """
    weights = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    values = (*graph.input, *graph.value_info)
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in values}
    nodes: list[onnx.NodeProto] = []
    replaced: set[str] = set()
    for node in graph.node:
        settings = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        # Those of the batch itself are computed in the graph.
        fixed = weights.keys() >= {*node.input[1:]} and not settings.get("training_mode")
        if node.op_type != "BatchNormalization" or not fixed:
            nodes.append(node)
            continue
        x, *statistics = node.input
        gain, bias, mean, variance = (weights[name].astype(np.float64) for name in statistics)
        factor = gain / np.sqrt(variance + settings["epsilon"])
        (y,) = node.output
        factors, products, shifts = (f"{y}_{part}" for part in ("factors", "products", "shifts"))
        for name, constants in ((factors, factor), (shifts, bias - mean * factor)):
            # Channels are the second axis, of however many.
            shaped = constants.astype(np.float32).reshape(-1, *[1] * (ranks[x] - _RANK))
            graph.initializer.append(onnx.numpy_helper.from_array(shaped, name))
        nodes += (
            onnx.helper.make_node("Mul", [x, factors], [products], f"{node.name}_mul"),
            onnx.helper.make_node("Add", [products, shifts], [y], f"{node.name}_add"),
        )
        replaced |= {*statistics}
    unused = replaced - {name for node in nodes for name in node.input}
    _fill(graph.initializer, [one for one in graph.initializer if one.name not in unused])
    _fill(graph.value_info, [one for one in graph.value_info if one.name not in unused])
    _fill(graph.node, nodes)


def _fill(part: Any, content: Sequence[Any]) -> None:
    del part[:]
    part.extend(content)


def _log_sigmoid(x: Any) -> Any:
    """Translate LogSigmoid: torch's translation, Log of Sigmoid, is -inf from about -89 down."""
    # Its annotations do not allow one operator's result as another's argument.
    op: Any = opset18
    return op.Neg(op.Softplus(op.Neg(x)))


def strip(model: onnx.ModelProto) -> None:
    """Drop what the exporter notes in metadata: source paths of this machine, and code."""
    graph = model.graph
    noted = (model, graph, *graph.node, *graph.value_info, *graph.initializer)
    for part in (*noted, *graph.input, *graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence two notes of torch's exporter that concern torch itself, and nothing else."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    # It warns that torchvision, which no layer here uses, is not installed.
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message=r".*isinstance\(treespec, LeafSpec\)", category=FutureWarning
            )
            yield
    finally:
        registration.setLevel(level)
