"""Small ONNX models made with `onnx.helper`, for tests that need no training."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from isotherm.v1 import contract as contracts
from isotherm.v1.contract_pb2 import MISSING_MEAN, MISSING_UNKNOWN, Contract


def publish(repository: Path, name: str, model: onnx.ModelProto, version: int = 1) -> Path:
    """Write a model into a repository; return the file's path."""
    path = repository / name / str(version) / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def mlp(widths: tuple[int, ...] = (1, 13, 1), seed: int = 0) -> onnx.ModelProto:
    """Return a tanh network with random weights: x [batch, first] FP32 to y [batch, last]."""
    rng = np.random.default_rng(seed)
    nodes, weights = [], []
    current = "x"
    for index, (width_in, width_out) in enumerate(itertools.pairwise(widths)):
        last = index == len(widths) - 2
        for kind, shape in (("w", (width_in, width_out)), ("b", (width_out,))):
            value = (rng.standard_normal(shape) / width_in**0.5).astype(np.float32)
            weights.append(numpy_helper.from_array(value, f"{kind}{index}"))
        out = "y" if last else f"h{index}"
        nodes.append(helper.make_node("Gemm", [current, f"w{index}", f"b{index}"], [out]))
        if not last:
            nodes.append(helper.make_node("Tanh", [out], [f"a{index}"]))
            current = f"a{index}"
    return _model(
        nodes,
        [_info("x", TensorProto.FLOAT, widths[0])],
        [_info("y", TensorProto.FLOAT, widths[-1])],
        weights,
    )


def with_contract(model: onnx.ModelProto, contract: Contract) -> onnx.ModelProto:
    """Return a copy that carries a contract."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    helper.set_model_props(copy, {contracts.METADATA_KEY: contracts.dumps(contract)})
    return copy


def doubling_contract(**changes: Any) -> Contract:
    """Return the contract of `doubling`, with two golden rows."""
    contract = Contract(schema_version=1, model_name="doubling")
    contract.features.add(name="reading", unit="degF", datatype="FP32", minimum=-10, maximum=10)
    contract.targets.add(name="twice", unit="degC", datatype="FP32")
    contract.tensors.input, contract.tensors.prediction = "x", "y"
    contract.golden.rows = 2
    contract.golden.inputs.extend([1.0, 2.0])
    contract.golden.outputs.extend([2.0, 4.0])
    contract.golden.absolute_tolerance = 1e-6
    contract.MergeFrom(Contract(**changes))
    return contract


def doubling() -> onnx.ModelProto:
    """Return y = 2 x, one feature: x [batch, 1] FP32 to y [batch, 1]."""
    return times(2)


def times(factor: float, features: int = 1) -> onnx.ModelProto:
    """Return y = factor x: x [batch, features] FP32 to y [batch, features]."""
    constant = numpy_helper.from_array(np.array([factor], np.float32), "factor")
    return _model(
        [helper.make_node("Mul", ["x", "factor"], ["y"])],
        [_info("x", TensorProto.FLOAT, features)],
        [_info("y", TensorProto.FLOAT, features)],
        [constant],
    )


def rides(cities: Sequence[str] = ("Oslo", "Paris", "Rome")) -> onnx.ModelProto:
    """Return y = 1000 city + 10 km + hour with a contract: 7 stands for a missing cell.

    x [batch, 3]: the city is a category, the distance may be missing, the hour may not.
    """
    constants = {
        "seven": np.array(7, np.float32),
        "weights": np.array([[1000], [10], [1]], np.float32),
    }
    model = _model(
        [
            helper.make_node("IsNaN", ["x"], ["missing"]),
            helper.make_node("Where", ["missing", "seven", "x"], ["filled"]),
            helper.make_node("MatMul", ["filled", "weights"], ["y"]),
        ],
        [_info("x", TensorProto.FLOAT, 3)],
        [_info("y", TensorProto.FLOAT, 1)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    contract = Contract(schema_version=1, model_name="rides")
    contract.features.add(name="city", categories=cities, missing=MISSING_UNKNOWN)
    contract.features.add(name="km", unit="km", maximum=50, missing=MISSING_MEAN)
    contract.features.add(name="hour", maximum=23)
    contract.targets.add(name="fare", datatype="FP32")
    contract.tensors.input, contract.tensors.prediction = "x", "y"
    golden = np.array([[1, 2, 3], [np.nan, np.nan, 3], [-1, 2, 3]])
    contract.golden.rows = len(golden)
    contract.golden.inputs.extend(golden.ravel())
    contract.golden.outputs.extend([1023, 7073, -977])
    contract.golden.absolute_tolerance = 1e-3
    return with_contract(model, contract)


def labelled() -> onnx.ModelProto:
    """Return a classifier with labels: x [batch, 1] to y [batch, 2] = (1 - x, x), cold and warm."""
    slope = numpy_helper.from_array(np.array([[-1.0, 1.0]], np.float32), "slope")
    start = numpy_helper.from_array(np.array([1.0, 0.0], np.float32), "start")
    model = _model(
        [helper.make_node("Gemm", ["x", "slope", "start"], ["y"])],
        [_info("x", TensorProto.FLOAT, 1)],
        [_info("y", TensorProto.FLOAT, 2)],
        [slope, start],
    )
    contract = Contract(schema_version=1, model_name="labelled")
    contract.features.add(name="x", datatype="FP32")
    contract.targets.add(name="kind", datatype="BYTES", classes=["cold", "warm"])
    contract.tensors.input, contract.tensors.prediction = "x", "y"
    contract.golden.rows = 1
    contract.golden.inputs.append(0.25)
    contract.golden.outputs.extend([0.75, 0.25])
    contract.golden.absolute_tolerance = 1e-6
    return with_contract(model, contract)


def simple() -> onnx.ModelProto:
    """Return Triton's example model: INPUT0, INPUT1 INT32 [batch, 16] to their sum, difference."""
    return _model(
        [
            helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
            helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
        ],
        [_info("INPUT0", TensorProto.INT32, 16), _info("INPUT1", TensorProto.INT32, 16)],
        [_info("OUTPUT0", TensorProto.INT32, 16), _info("OUTPUT1", TensorProto.INT32, 16)],
    )


def identity(
    elem_type: int = TensorProto.STRING, dims: tuple[int | str, ...] = (1,)
) -> onnx.ModelProto:
    """Return OUTPUT0 = INPUT0 of a type, [batch, *dims]."""
    return _model(
        [helper.make_node("Identity", ["INPUT0"], ["OUTPUT0"])],
        [_info("INPUT0", elem_type, *dims)],
        [_info("OUTPUT0", elem_type, *dims)],
    )


def lookup() -> onnx.ModelProto:
    """Return a model that fails in the runtime for an index outside 0..3: gather from a table."""
    table = numpy_helper.from_array(np.arange(4, dtype=np.float32), "table")
    return _model(
        [helper.make_node("Gather", ["table", "index"], ["value"])],
        [_info("index", TensorProto.INT64, 1)],
        [_info("value", TensorProto.FLOAT, 1)],
        [table],
    )


def fixed_batch() -> onnx.ModelProto:
    """Return y = x + x for exactly [2, 3] FP32: it cannot be batched."""
    return _model(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])],
    )


def counting() -> onnx.ModelProto:
    """Return y = x, and in `rows` for each row how many ran with it: x [batch, 1] FP32."""
    one = numpy_helper.from_array(np.array([1], np.int64), "one")
    return _model(
        [
            helper.make_node("Identity", ["x"], ["y"]),
            helper.make_node("Shape", ["x"], ["count"], end=1),
            helper.make_node("Concat", ["count", "one"], ["shape"], axis=0),
            helper.make_node("Expand", ["count", "shape"], ["rows"]),
        ],
        [_info("x", TensorProto.FLOAT, 1)],
        [_info("y", TensorProto.FLOAT, 1), _info("rows", TensorProto.INT64, 1)],
        [one],
    )


def outer() -> onnx.ModelProto:
    """Return y = x times the sum of the row's squares, by way of all products of two numbers.

    x [batch, length] FP32 to y [batch, length], of any length: its square is what a row takes.
    """
    return _model(
        [
            helper.make_node("Unsqueeze", ["x", "second"], ["across"]),
            helper.make_node("Unsqueeze", ["x", "third"], ["down"]),
            helper.make_node("Mul", ["across", "down"], ["products"]),
            helper.make_node("MatMul", ["products", "down"], ["column"]),
            helper.make_node("Squeeze", ["column", "third"], ["y"]),
        ],
        [_info("x", TensorProto.FLOAT, "length")],
        [_info("y", TensorProto.FLOAT, "length")],
        [
            numpy_helper.from_array(np.array([1], np.int64), "second"),
            numpy_helper.from_array(np.array([2], np.int64), "third"),
        ],
    )


def standardised() -> onnx.ModelProto:
    """Return y = (x - 2) / 0.5 by a BatchNormalization: x [batch, 3] FP32 to y [batch, 3]."""
    columns = {"scale": 1.0, "shift": 0.0, "mean": 2.0, "variance": 0.25}
    return _model(
        [helper.make_node("BatchNormalization", ["x", *columns], ["y"], epsilon=0.0)],
        [_info("x", TensorProto.FLOAT, 3)],
        [_info("y", TensorProto.FLOAT, 3)],
        [
            numpy_helper.from_array(np.full(3, value, np.float32), name)
            for name, value in columns.items()
        ],
    )


def averaged() -> onnx.ModelProto:
    """Return y = the mean of each row, by a ReduceMean: x [batch, 3] FP32 to y [batch, 1]."""
    return _model(
        [helper.make_node("ReduceMean", ["x", "axes"], ["y"])],
        [_info("x", TensorProto.FLOAT, 3)],
        [_info("y", TensorProto.FLOAT, 1)],
        [numpy_helper.from_array(np.array([1], np.int64), "axes")],
    )


def parted() -> onnx.ModelProto:
    """Return y = 2 x and -x: of x [batch, 4] FP32, the first column and the other three, in y.

    Parts of different widths, as networks with categories have them: on CUDA, Split and Concat
    copy their widths to the device in every run.
    """
    constants = (
        numpy_helper.from_array(np.array([1, 3], np.int64), "widths"),
        numpy_helper.from_array(np.array([2], np.float32), "two"),
    )
    return _model(
        [
            helper.make_node("Split", ["x", "widths"], ["first", "others"], axis=1),
            helper.make_node("Mul", ["first", "two"], ["twice"]),
            helper.make_node("Neg", ["others"], ["negated"]),
            helper.make_node("Concat", ["twice", "negated"], ["y"], axis=1),
        ],
        [_info("x", TensorProto.FLOAT, 4)],
        [_info("y", TensorProto.FLOAT, 4)],
        list(constants),
    )


def slow() -> onnx.ModelProto:
    """Return y = x after as many turns as the largest x: x [batch, 1] FP32, some 0.1 ms a turn."""
    square = helper.make_tensor_type_proto(TensorProto.FLOAT, [128, 128])
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "weight"], ["product"]),
            helper.make_node("Tanh", ["product"], ["next"]),
            helper.make_node("Identity", ["going"], ["on"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_value_info("state", square),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_value_info("next", square),
        ],
    )
    weight = np.random.default_rng(0).standard_normal((128, 128)).astype(np.float32)
    return _model(
        [
            helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
            helper.make_node("Cast", ["most"], ["turns"], to=TensorProto.INT64),
            helper.make_node("Loop", ["turns", "", "weight"], ["end"], body=body),
            # What the turns make has no place in the answer, but has to be there.
            helper.make_node("ReduceSum", ["end"], ["sum"], keepdims=0),
            helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
            helper.make_node("Add", ["x", "nothing"], ["y"]),
        ],
        [_info("x", TensorProto.FLOAT, 1)],
        [_info("y", TensorProto.FLOAT, 1)],
        [
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array(np.array(0.0, np.float32), "zero"),
        ],
    )


def _info(name: str, elem_type: int, *dims: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, elem_type, ["batch", *dims])


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    initializers: list[onnx.TensorProto] | None = None,
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers or [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    onnx.checker.check_model(model, full_check=True)
    return model
