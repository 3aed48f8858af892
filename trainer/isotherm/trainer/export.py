"""The ONNX file: one graph with a free batch axis, and nothing in it of where it was made."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from typing import Final

import onnx
import torch
from torch import nn

from isotherm.trainer.errors import ExportError

BATCH: Final = "batch"

# Two rows: an axis of length one could be taken for a constant.
_EXAMPLE_ROWS: Final = 2


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
    model = _traced(module, features, input_name, output_names)
    _strip(model)
    model.producer_name, model.producer_version = "isotherm", metadata.version("isotherm")
    model.graph.name = name
    onnx.helper.set_model_props(model, dict(sorted(properties.items())))
    check(model)
    return model.SerializeToString(deterministic=True)


def check(model: onnx.ModelProto) -> None:
    """Raise ExportError unless the graph is valid, free of Dropout, and takes any batch size."""
    for tensor in (*model.graph.input, *model.graph.output):
        axis = tensor.type.tensor_type.shape.dim[0]
        if axis.dim_param != BATCH:
            found = axis.dim_param or axis.dim_value
            msg = f"axis 0 of '{tensor.name}' is {found!r}, expected the free axis '{BATCH}'"
            raise ExportError(msg)
    for node in model.graph.node:
        if node.op_type == "Dropout":
            msg = f"node '{node.name}' is a Dropout: the model must be exported after `.eval()`"
            raise ExportError(msg)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        msg = f"the exported graph is not valid ONNX: {error}"
        raise ExportError(msg) from error


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


def _strip(model: onnx.ModelProto) -> None:
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
