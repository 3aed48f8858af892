"""KServe's own client, unchanged, in a process of its own: its messages clash with others'."""

from __future__ import annotations

import pytest

from tests.support import kserve
from tests.support.environments import environment, run
from tests.support.server import Server

SCRIPT = """
import asyncio
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest

X = np.array([[1.0], [2.5]], np.float32)


async def main(address):
    async with InferenceGRPCClient(address) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("doubling")
        for raw in (True, False):
            tensor = InferInput("x", [2, 1], "FP32")
            tensor.set_data_from_numpy(X, binary_data=raw)
            request = InferRequest(
                model_name="doubling", infer_inputs=[tensor], request_id=f"raw-{raw}"
            )
            response = await client.infer(request)
            assert response.id == f"raw-{raw}", response.id
            np.testing.assert_array_equal(2 * X, response.outputs[0].as_numpy())
        try:
            await client.infer(InferRequest(model_name="nobody", infer_inputs=[tensor]))
        except Exception as error:
            assert "NOT_FOUND" in repr(error), repr(error)
        else:
            raise AssertionError("an unknown model was answered")
    print("all answered")


asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.slow
def test_kserve_s_client_is_answered_raw_and_typed(server: Server) -> None:
    """Health, readiness, both forms of inference, and the code of an unknown model."""
    python = environment(kserve.ENVIRONMENT, *kserve.REQUIREMENTS)

    output = run(python, "-c", SCRIPT, server.address)

    assert "all answered" in output
