"""gRPC's own two Python servers around onnxruntime, by hand, without batching."""

from __future__ import annotations

from tests.bench.peers.peer import Peer, app
from tests.bench.peers.wire import open_inference
from tests.support.foreign import ONNXRUNTIME

ENVIRONMENT = "peer-grpc"


def peers() -> list[Peer]:
    """Return both, each with one process, and with one a core on a shared port."""
    return [
        Peer(
            name=f"bare {name}, {workers} process{'es' * (workers > 1)}",
            family=f"bare {name}",
            settings=f"{how}, no batching",
            wire=open_inference(),
            environment=ENVIRONMENT,
            requirements=("grpcio==1.85.1", "protobuf==7.36.2", "numpy==2.4.6", ONNXRUNTIME),
            command=app(file, ENVIRONMENT, WORKERS=str(workers)),
            distribution="grpcio",
        )
        for name, file, how in (
            ("grpc.aio", "grpc_aio_app", "runs in the event loop"),
            ("grpc.server", "grpc_server_app", "10 threads"),
        )
        for workers in (1, 2)
    ]
