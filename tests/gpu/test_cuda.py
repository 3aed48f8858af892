"""On a machine with an NVIDIA GPU: the provider is really CUDA, and the answers are torch's."""

from __future__ import annotations

from pathlib import Path

import grpc
import numpy as np
import pytest

from isotherm.v1 import contract as contracts
from isotherm.v1 import open_inference_pb2 as pb
from tests.conftest import EXAMPLES
from tests.support import models
from tests.support.rpc import call, infer_request, outputs_of
from tests.support.server import serving

pytestmark = pytest.mark.gpu


def test_the_thermometer_is_served_from_cuda(transport: str) -> None:
    """Asked for by name, seen in the metrics, and the golden rows answered as torch did."""
    flags = ("--provider", "cuda", "--transport", transport)
    with serving(EXAMPLES, *flags) as server, grpc.insecure_channel(server.address) as channel:
        config = call(channel, "ModelConfig", pb.ModelConfigRequest(name="thermometer")).config
        contract = contracts.loads(config.parameters["isotherm.contract"].string_value)
        golden = contract.golden
        inputs = np.array(golden.inputs, np.float32).reshape(golden.rows, -1)
        answer = call(channel, "ModelInfer", infer_request("thermometer", x=inputs))
        metrics = server.get("/metrics")[1]

    expected = np.array(golden.outputs, np.float32).reshape(golden.rows, -1)
    np.testing.assert_allclose(
        outputs_of(answer)[contract.tensors.prediction],
        expected,
        rtol=golden.relative_tolerance,
        atol=golden.absolute_tolerance,
    )
    assert config.instance_group[0].kind == pb.ModelInstanceGroup.KIND_GPU
    assert 'model="thermometer",provider="cuda"' in metrics


def test_auto_takes_cuda_where_it_is(repository: Path) -> None:
    """No flag is needed on a GPU machine."""
    with serving(repository, "--provider", "auto") as server:
        assert 'model="mlp",provider="cuda"' in server.get("/metrics")[1]


@pytest.mark.parametrize("rows", [1, 2, 63, 64, 1000, 5000])
def test_cuda_and_cpu_agree_at_every_batch_size(tmp_path: Path, rows: int) -> None:
    """TF32 is off: a regression keeps its digits."""
    models.publish(tmp_path, "wide", models.mlp((64, 256, 256, 8)))
    x = np.random.default_rng(rows).standard_normal((rows, 64)).astype(np.float32)
    answers = []
    for provider in ("cpu", "cuda"):
        with (
            serving(tmp_path, "--provider", provider) as server,
            grpc.insecure_channel(server.address) as channel,
        ):
            answer = call(channel, "ModelInfer", infer_request("wide", x=x), timeout=60)
            answers.append(outputs_of(answer)["y"])

    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-4, atol=1e-5)
