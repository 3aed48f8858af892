"""Ray Serve: gRPC, and replicas that gather requests with @serve.batch."""

# The packages are in an environment of their own, not where types are checked.
# mypy: disable-error-code="attr-defined, import-not-found, misc, no-any-return, untyped-decorator"

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import grpc
import messages
import numpy as np
import ray
from onnx_model import OnnxModel
from ray import serve
from ray.serve.config import gRPCOptions

from isotherm.v1 import open_inference_pb2 as pb


def add_servicer(servicer: Any, server: Any) -> None:
    """Do what the generated `add_GRPCInferenceServiceServicer_to_server` does."""
    service, method = messages.METHOD.strip("/").split("/")
    handler = grpc.unary_unary_rpc_method_handler(
        getattr(servicer, method),
        pb.ModelInferRequest.FromString,
        pb.ModelInferResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {method: handler}),)
    )


# max_ongoing_requests is 5 unless raised, which would bound every batch: "Performance tuning".
@serve.deployment(
    num_replicas=int(os.environ["WORKERS"]),
    max_ongoing_requests=1000,
    ray_actor_options={"num_cpus": 0.5},
)
class Inference:
    """The deployment of Ray Serve's documentation, "gRPC" and "Dynamic request batching"."""

    def __init__(self) -> None:
        self.model = OnnxModel()

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0)
    async def run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        y = self.model(np.concatenate(inputs))
        return np.split(y, np.cumsum([len(x) for x in inputs])[:-1])

    async def ModelInfer(  # noqa: N802  the method's name on the wire
        self, request: pb.ModelInferRequest
    ) -> pb.ModelInferResponse:
        return messages.answer_of(await self.run(messages.array_of(request)))


if __name__ == "__main__":
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    ray.init(num_cpus=2, include_dashboard=False, _temp_dir=os.environ["SCRATCH"])
    serve.start(
        http_options={"host": "127.0.0.1", "port": int(os.environ["HTTP_PORT"])},
        grpc_options=gRPCOptions(
            port=int(os.environ["PORT"]), grpc_servicer_functions=["ray_app.add_servicer"]
        ),
    )
    serve.run(Inference.bind(), name="m", route_prefix="/m")
    over.wait()
    ray.shutdown()
