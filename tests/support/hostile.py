"""Model files that mean harm, each a few bytes made with `onnx.helper`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from isotherm.server.config import VettingConfig
from tests.support import models

Node = onnx.NodeProto

# For tests of what comes after vetting.
TRUSTED = VettingConfig(level="off")


def model(
    nodes: list[Node],
    weights: dict[str, np.ndarray] | None = None,
    *,
    functions: list[onnx.FunctionProto] | None = None,
    domains: tuple[str, ...] = (),
) -> onnx.ModelProto:
    """Return a model from x [batch, 1] FP32 to y FP32, of any shape; nothing of it is checked."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", 20), *(helper.make_opsetid(name, 1) for name in domains)]
    made = helper.make_model(graph, opset_imports=opsets, functions=functions or [])
    made.ir_version = 10
    return made


def constant_bomb(elements: int) -> onnx.ModelProto:
    """Make a constant of so many FP32 elements out of nothing, and add it to x."""
    return model(
        [
            helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
            helper.make_node("Add", ["x", "zeros"], ["y"]),
        ],
        {"shape": np.array([elements], np.int64)},
    )


def hidden_constant_bomb(elements: int) -> onnx.ModelProto:
    """Make the same where no inference of shapes can see it: the size is itself computed."""
    root = np.array([elements**0.5], np.float32)
    return model(
        [
            helper.make_node("Pow", ["root", "two"], ["size"]),
            helper.make_node("Cast", ["size"], ["shape"], to=TensorProto.INT64),
            helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
            helper.make_node("Add", ["x", "zeros"], ["y"]),
        ],
        {"root": root, "two": np.array([2], np.float32)},
    )


def broadcast_bomb() -> onnx.ModelProto:
    """Add a column of 65536 to a row of 65536: 16 GiB from half a megabyte."""
    side = np.zeros(65536, np.float32)
    return model(
        [
            helper.make_node("Add", ["column", "x"], ["fed"]),
            helper.make_node("Add", ["fed", "row"], ["y"]),
        ],
        {"column": side.reshape(-1, 1), "row": side.reshape(1, -1)},
    )


def bomb_where(value: float) -> onnx.ModelProto:
    """Make 8 GB when the first row is `value`, and next to nothing for any other."""
    return model(
        [
            helper.make_node("Slice", ["x", "start", "end", "start"], ["first"]),
            helper.make_node("Reshape", ["first", "flat"], ["scalar"]),
            helper.make_node("Equal", ["scalar", "trigger"], ["now"]),
            helper.make_node("Where", ["now", "many", "few"], ["shape"]),
            helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
            helper.make_node("ReduceSum", ["zeros"], ["nothing"], keepdims=0),
            helper.make_node("Add", ["x", "nothing"], ["y"]),
        ],
        {
            "start": np.array([0], np.int64),
            "end": np.array([1], np.int64),
            "flat": np.array([1], np.int64),
            "trigger": np.array([value], np.float32),
            "many": np.array([1 << 31], np.int64),
            "few": np.array([1], np.int64),
        },
    )


def golden_bomb() -> onnx.ModelProto:
    """Make 8 GB for a row that is not of zeros, and carry that row as a golden one."""
    made = bomb_where(7.0)
    dims = made.graph.output[0].type.tensor_type.shape.dim
    dims.add().dim_param = "batch"
    dims.add().dim_value = 1
    made.graph.node[1].input[0] = "x"
    del made.graph.node[0]
    contract = models.doubling_contract()
    contract.golden.rows = 1
    contract.golden.inputs[:] = [7.0]
    contract.golden.outputs[:] = [7.0]
    return models.with_contract(made, contract)


def endless_loop() -> onnx.ModelProto:
    """Count to 2^40."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Add", ["sum", "one"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("trip", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [1]),
        ],
    )
    return model(
        [
            helper.make_node("Loop", ["trips", "true", "one"], ["count"], body=body),
            helper.make_node("Add", ["x", "count"], ["y"]),
        ],
        {
            "trips": np.array(1 << 40, np.int64),
            "true": np.array(True),
            "one": np.array([1], np.float32),
        },
    )


def nested_ifs(depth: int) -> bytes:
    """Put If into If so many times, also more than a library would write or read."""
    name, graph_type = _field(2, b"graph"), b"\xa0\x01\x05"
    result = _field(12, _field(1, b"y") + _field(2, _field(1, b"\x08\x01")))
    leaf = _field(1, _field(1, b"x") + _field(2, b"y") + _field(4, b"Identity")) + name + result
    body = leaf
    for level in range(depth):
        branches = _field(5, _field(1, b"then_branch") + _field(6, body) + graph_type)
        branches += _field(5, _field(1, b"else_branch") + _field(6, leaf) + graph_type)
        node = _field(1, b"true") + _field(2, b"y") + _field(4, b"If") + branches
        body = _field(1, node) + (name + result if level < depth - 1 else b"")
    outer = model([], {"true": np.array(True)})
    graph = outer.graph.SerializeToString() + body
    outer.ClearField("graph")
    return outer.SerializeToString() + _field(7, graph)


def _field(number: int, content: bytes) -> bytes:
    """Return a field of a protobuf message, as it is on the wire."""
    size, length = len(content), b""
    while size >= 128:
        length += bytes([size % 128 + 128])
        size //= 128
    return bytes([number * 8 + 2]) + length + bytes([size]) + content


def doubling_functions(generations: int) -> onnx.ModelProto:
    """Let each function call the one before it twice: 2^generations nodes once they are put in."""
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("local", 1)]
    first = helper.make_function(
        "local", "f0", ["a"], ["b"], [helper.make_node("Identity", ["a"], ["b"])], opsets
    )
    functions = [first]
    for number in range(1, generations + 1):
        inner = f"f{number - 1}"
        calls = [
            helper.make_node(inner, ["a"], ["m"], domain="local"),
            helper.make_node(inner, ["m"], ["b"], domain="local"),
        ]
        functions.append(helper.make_function("local", f"f{number}", ["a"], ["b"], calls, opsets))
    call = helper.make_node(f"f{generations}", ["x"], ["y"], domain="local")
    return model([call], functions=functions, domains=("local",))


def endless_functions() -> onnx.ModelProto:
    """Let a function call itself."""
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("local", 1)]
    call = helper.make_node("f", ["a"], ["b"], domain="local")
    function = helper.make_function("local", "f", ["a"], ["b"], [call], opsets)
    node = helper.make_node("f", ["x"], ["y"], domain="local")
    return model([node], functions=[function], domains=("local",))


def foreign_operator(domain: str, name: str) -> onnx.ModelProto:
    """Use an operator of another domain."""
    return model(
        [helper.make_node(name, ["x"], ["y"], domain=domain)], domains=(domain,) if domain else ()
    )


def giant_metadata(size: int) -> onnx.ModelProto:
    """Carry so many bytes that nobody asked for."""
    made = models.doubling()
    helper.set_model_props(made, {"note": "x" * size})
    return made


def convolution() -> onnx.ModelProto:
    """Return a good model of another kind: x [batch, 1] through a kernel of one."""
    return model(
        [
            helper.make_node("Reshape", ["x", "shape"], ["image"]),
            helper.make_node("Conv", ["image", "kernel"], ["features"]),
            helper.make_node("Flatten", ["features"], ["y"]),
        ],
        {
            "shape": np.array([-1, 1, 1, 1], np.int64),
            "kernel": np.ones((2, 1, 1, 1), np.float32),
        },
    )


def scaler() -> onnx.ModelProto:
    """Return a good model of ai.onnx.ml: what exporters of scikit-learn write."""
    node = helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[1.0], scale=[2.0])
    return model([node], domains=("ai.onnx.ml",))


def with_weights(value: float) -> onnx.ModelProto:
    """Multiply by a weight."""
    return model([helper.make_node("Mul", ["x", "w"], ["y"])], {"w": np.array([value], np.float32)})


def of_opset(version: int) -> onnx.ModelProto:
    """Say that it is of an opset."""
    made = models.doubling()
    made.opset_import[0].version = version
    return made


def of_ir(version: int) -> onnx.ModelProto:
    """Say that it is of a version of the format."""
    made = models.doubling()
    made.ir_version = version
    return made


def wrong_shape() -> onnx.ModelProto:
    """Promise another width than the graph computes."""
    made = models.mlp((1, 3))
    made.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 4
    return made


def with_external_data(location: str, length: int = 4, offset: int = 0) -> onnx.ModelProto:
    """Take the only weight, one float, from another file."""
    made = models.doubling()
    (weight,) = made.graph.initializer
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        weight.external_data.add(key=key, value=str(value))
    return made


def publish_with_data(repository: Path, name: str, value: float = 2.0) -> Path:
    """Publish a model whose weight lies beside it, as it should; return the model's path."""
    path = models.publish(repository, name, with_external_data("weights.bin"))
    (path.parent / "weights.bin").write_bytes(np.array([value], np.float32).tobytes())
    return path
