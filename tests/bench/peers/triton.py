"""Triton 2.51 behind its Python backend, which runs all that its scheduler has gathered at once.

Its C++ ONNX Runtime backend is not on the package index.
"""

from __future__ import annotations

from functools import partial

import onnx

from isotherm.v1 import open_inference_pb2 as pb
from tests.bench.peers.peer import Command, Peer, Place
from tests.bench.peers.wire import open_inference
from tests.support import triton


def peers() -> list[Peer]:
    """Return it with one instance of the model, and with one a core."""
    return [
        Peer(
            name=f"Triton (Python backend), {instances} instance{'s' * (instances > 1)}",
            family="Triton (Python backend)",
            # Triton's batcher.md: without a delay a batch is what has come while one ran. The
            # metrics, which sample the machine, are off in its favour.
            settings="dynamic batching, no delay, at most 1 024 rows; metrics off",
            wire=open_inference(),
            environment=triton.ENVIRONMENT,
            requirements=triton.REQUIREMENTS,
            command=partial(_command, instances),
            everything=True,
            distribution="nvidia-pytriton",
        )
        for instances in (1, 2)
    ]


def _command(instances: int, place: Place) -> Command:
    repository = place.folder / "models"
    if not repository.exists():
        model = onnx.load(place.model)
        config = pb.ModelConfig(name="m", max_batch_size=1024)
        config.dynamic_batching.SetInParent()
        for tensors, add in (
            (model.graph.input, config.input.add),
            (model.graph.output, config.output.add),
        ):
            for tensor in tensors:
                dims = [axis.dim_value for axis in tensor.type.tensor_type.shape.dim[1:]]
                add(name=tensor.name, data_type=pb.TYPE_FP32, dims=dims)
        triton.publish(repository, config, model.SerializeToString(), instances=instances)
    line, variables = triton.command(repository, place.folder, place.port)
    return Command(line, variables)
