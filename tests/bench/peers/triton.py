"""Triton 2.51 behind its Python backend, which runs all that its scheduler has gathered at once.

Its C++ ONNX Runtime backend is not on the package index.
"""

from __future__ import annotations

from functools import partial

import onnx

from tests.bench.peers.peer import Peer, Place
from tests.bench.peers.wire import open_inference
from tests.support import triton
from tests.support.foreign import Command


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
        config = triton.configuration("m", model)
        config.dynamic_batching.SetInParent()
        triton.publish(repository, config, model.SerializeToString(), instances=instances)
    return triton.command(repository, place.folder, place.port)
