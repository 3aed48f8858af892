"""PyTriton's `ModelClient`, unchanged, in a process of its own."""

from __future__ import annotations

import pytest

from tests.support import triton
from tests.support.environments import environment, run
from tests.support.server import Server

SCRIPT = """
import sys

import numpy as np
from pytriton.client import ModelClient
from tritonclient.utils import InferenceServerException

X = np.array([[1.0], [2.5]], np.float32)

with ModelClient(f"grpc://{sys.argv[1]}", "doubling") as client:
    assert client.model_config.max_batch_size == 1024, client.model_config
    np.testing.assert_array_equal(2 * X, client.infer_batch(X)["y"])
    np.testing.assert_array_equal(2 * X[0], client.infer_sample(X[0])["y"])
    np.testing.assert_array_equal(2 * X, client.infer_batch(x=X)["y"])
try:
    ModelClient(f"grpc://{sys.argv[1]}", "nobody", init_timeout_s=2).infer_batch(X)
except InferenceServerException as error:
    assert error.status() == "StatusCode.NOT_FOUND", error
else:
    raise AssertionError("an unknown model was answered")
print("all answered")
"""


@pytest.mark.slow
def test_pytriton_s_client_is_answered(server: Server) -> None:
    """It asks for readiness and the configuration first, then for batches and samples."""
    python = environment(triton.ENVIRONMENT, *triton.REQUIREMENTS)

    output = run(python, "-c", SCRIPT, server.address)

    assert "all answered" in output
