"""The trial of the providers, on this machine."""

from __future__ import annotations

import base64

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from isotherm.server.doctor import trial
from isotherm.server.doctor.examination import examine


@pytest.mark.skipif(
    "CUDAExecutionProvider" in ort.get_available_providers(), reason="there may be CUDA here"
)
def test_this_machine_for_real() -> None:
    """No made-up library: the processor, and why there is no CUDA."""
    examination = examine("cuda", 60)
    abouts = {problem.about for problem in examination.problems}

    assert not examination.works
    assert examination.provider == "cpu"
    assert examination.on_cpu
    assert "onnxruntime" in abouts
    assert examination.torch is None or not examination.torch["cuda"]


def test_the_trial_s_model_is_what_its_comment_says() -> None:
    """Made anew by ONNX's own means."""
    weights = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Neg", ["z"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(
        graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)], producer_name=""
    )

    onnx.checker.check_model(model)
    assert onnx.load_from_string(trial.MODEL) == model, base64.b64encode(model.SerializeToString())
