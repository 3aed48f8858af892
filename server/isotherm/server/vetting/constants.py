"""Tensors that need no input: a few bytes of a file can ask for gigabytes of them."""

from __future__ import annotations

import math
from typing import Final

import onnx
import onnx.inliner
from onnx import GraphProto, ModelProto, TypeProto

from isotherm.server.errors import LoadError

# Weights that are stored packed or quantised grow when they are read: so much, and no more.
_MAX_BYTES: Final = 64 << 20
_MAX_GROWTH: Final = 16


def check(model: ModelProto, file_bytes: int) -> None:
    """Raise LoadError where the constants are far larger than the file that they come from."""
    limit = _MAX_BYTES + _MAX_GROWTH * file_bytes
    total = 0
    graph = _with_shapes(model)
    sizes = {value.name: _bytes(value.type) for value in (*graph.value_info, *graph.output)}
    fed = {value.name for value in graph.input}
    constants = {tensor.name for tensor in graph.initializer} - fed
    constants |= {sparse.values.name for sparse in graph.sparse_initializer} - fed
    for node in graph.node:
        bodies = any(a.HasField("g") or a.graphs for a in node.attribute)
        if bodies or not all(name in constants or not name for name in node.input):
            continue
        constants.update(node.output)
        for name in node.output:
            total += sizes.get(name, 0)
            if total > limit:
                msg = (
                    f"operator {node.op_type} makes the constant '{name}' of {sizes[name]} bytes: "
                    f"the constants of a file of {file_bytes} bytes may take {limit}"
                )
                raise LoadError(msg)


def _with_shapes(model: ModelProto) -> GraphProto:
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    try:
        # Without `data_prop`, which writes the values of shapes out: here they may be gigabytes.
        return onnx.shape_inference.infer_shapes(model).graph
    # The runtime infers for itself, and the trial shows what its shapes cost.
    except (RuntimeError, ValueError):
        return model.graph


def _bytes(kind: TypeProto) -> int:
    """Return what a tensor takes; a dimension that is not known counts as one."""
    tensor = kind.tensor_type
    sizes = (dim.dim_value for dim in tensor.shape.dim if dim.HasField("dim_value"))
    try:
        width = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).itemsize
    except (KeyError, TypeError):
        width = 1
    return width * math.prod(max(size, 0) for size in sizes)
