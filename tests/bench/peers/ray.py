"""Ray Serve with its gRPC proxy and @serve.batch."""

from __future__ import annotations

from functools import partial

from tests.bench.peers.peer import Peer, Place, app, other_port
from tests.bench.peers.wire import open_inference
from tests.support.foreign import ONNXRUNTIME, Command

ENVIRONMENT = "peer-ray"


def peers() -> list[Peer]:
    """Return it with one replica, and with one a core."""
    return [
        Peer(
            name=f"Ray Serve, {replicas} replica{'s' * (replicas > 1)}",
            family="Ray Serve",
            settings="HAProxy, throughput-optimized, @serve.batch of 64 without a wait",
            wire=open_inference(),
            environment=ENVIRONMENT,
            requirements=("ray[serve-grpc]==2.60.0", ONNXRUNTIME),
            command=partial(_command, replicas),
            # HAProxy begins anew when it has learnt of the replicas.
            settle_s=5.0,
            distribution="ray",
        )
        for replicas in (1, 2)
    ]


def _command(replicas: int, place: Place) -> Command:
    # Ray's sockets lie below it, and their names may have 107 characters at most.
    scratch = place.folder.parent / "ray"
    return app(
        "ray_app",
        ENVIRONMENT,
        WORKERS=str(replicas),
        HTTP_PORT=other_port(),
        SCRATCH=str(scratch),
        # Ray's guides "Performance tuning" and "Enable high throughput on Ray Serve": no threads of
        # its own for user code and router, gRPC between proxy and replicas, and HAProxy as the
        # proxy, straight to the replicas' own gRPC servers.
        RAY_SERVE_THROUGHPUT_OPTIMIZED="1",
        RAY_SERVE_ENABLE_HA_PROXY="1",
        RAY_USAGE_STATS_ENABLED="0",
    )(place)
