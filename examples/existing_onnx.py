"""An ONNX file as other tools write them, without a contract: python examples/existing_onnx.py.

It is least squares on the diabetes table by numpy. This gives it a contract, and publishes it:

    isotherm export elsewhere.onnx --data examples/diabetes.csv --name elsewhere \
        --features age,sex,bmi,bp,s1,s2,s3,s4,s5,s6 --targets progression
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

rows = np.loadtxt("examples/diabetes.csv", delimiter=",", skiprows=1)
x, y = rows[:, :-1], rows[:, -1:]
centre = x.mean(axis=0)
weight, *_ = np.linalg.lstsq(x - centre, y - y.mean(), rcond=None)

constants = {"centre": centre, "weight": weight, "level": y.mean(axis=0)}
graph = helper.make_graph(
    [
        helper.make_node("Sub", ["rows", "centre"], ["centred"]),
        helper.make_node("Gemm", ["centred", "weight", "level"], ["progression"]),
    ],
    "least_squares",
    [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 10])],
    [helper.make_tensor_value_info("progression", TensorProto.FLOAT, ["n", 1])],
    [numpy_helper.from_array(value.astype("float32"), name) for name, value in constants.items()],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
onnx.save(model, "elsewhere.onnx")
print("wrote elsewhere.onnx")
