"""The device's memory: flat while versions come and go, and there again after it ran out."""

from __future__ import annotations

from pathlib import Path

import grpc
import numpy as np
import pytest

from isotherm.server.device.cudart import Cuda
from isotherm.v1 import open_inference_pb2 as pb
from tests.gpu.conftest import rows
from tests.support import models
from tests.support.rpc import call, error_of, infer_request, outputs_of
from tests.support.server import Server, eventually, serving

MIB = 1 << 20
SWAPS = 100
# The first swaps take what the runtime keeps for those to come.
SETTLED = 20
LIMIT_MIB = 64


def used_mib(server: Server, provider: str) -> float:
    """Return the device's memory that is in use; of the server on the CPU, its worker's."""
    if provider == "cuda":
        device = Cuda(0)
        device.enter()
        free, total = device.memory()
        return (total - free) / MIB
    return server.metric('isotherm_worker_resident_memory_bytes{worker="0"}') / MIB


@pytest.mark.timeout(110)
def test_memory_is_flat_over_a_hundred_swaps(tmp_path: Path, provider: str) -> None:
    """Each version takes over from the one before, answers, and leaves nothing behind."""
    models.publish(tmp_path, "m", models.times(1, 64))
    flags = ("--provider", provider, "--model-control", "explicit", "--load-model", "m")
    x = rows(8, 64)
    with (
        serving(tmp_path, *flags, "--max-batch-size", "8", "--instances", "1") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        used = []
        for version in range(2, SWAPS + 2):
            models.publish(tmp_path, "m", models.times(version, 64), version)
            request = pb.RepositoryModelLoadRequest(model_name="m")
            call(channel, "RepositoryModelLoad", request, timeout=30)
            y = outputs_of(call(channel, "ModelInfer", infer_request("m", x=x)))["y"]
            np.testing.assert_allclose(y, version * x, rtol=1e-6)
            used.append(used_mib(server, provider))
        # The last one that was replaced may still be closing.
        settled = used[SETTLED]
        flat = eventually(lambda: used_mib(server, provider) < settled + 16, 5)

    assert flat, f"MiB after every tenth swap: {[round(mib) for mib in used[::10]]}"


def test_a_batch_that_finds_no_memory_fails_alone(tmp_path: Path, provider: str) -> None:
    """Its caller is told; the server lives, and the next batch has the memory again."""
    models.publish(tmp_path, "outer", models.outer())
    flags = ("--provider", provider, "--gpu-memory-limit", str(LIMIT_MIB))
    # For one row, a square of float32 of this side: four times the limit, and a fifth of it.
    too_long, long = (int((part * LIMIT_MIB * MIB / 4) ** 0.5) for part in (4.0, 0.2))
    with (
        serving(tmp_path, *flags) as server,
        grpc.insecure_channel(server.address) as channel,
    ):

        def right(length: int) -> bool:
            x = rows(1, length, length)
            y = outputs_of(call(channel, "ModelInfer", infer_request("outer", x=x)))["y"]
            return np.allclose(y, x * np.square(x).sum(axis=1, keepdims=True), rtol=1e-3)

        assert right(100)
        for _ in range(3):
            if provider == "cuda":
                request = infer_request("outer", x=rows(1, too_long))
                code, text = error_of(channel, "ModelInfer", request)
                assert code is grpc.StatusCode.INTERNAL
                assert "the model failed on this request" in text
            else:
                # The host has no such limit.
                assert right(too_long)
            assert right(long)
            assert right(100)
        workers = server.workers()
        assert len(workers) == 1
        assert call(channel, "ServerReady", pb.ServerReadyRequest()).ready
