"""Ray Serve with its gRPC proxy and @serve.batch."""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path

from tests.bench.peers.peer import ORT, Command, Peer, Place, app, other_port
from tests.bench.peers.wire import open_inference

ENVIRONMENT = "peer-ray"


def peers() -> list[Peer]:
    """Return it with one replica, and with one a core."""
    return [
        Peer(
            name=f"Ray Serve, {replicas} replica{'s' * (replicas > 1)}",
            family="Ray Serve",
            settings="gRPC proxy, @serve.batch of 64 without a wait, RAY_SERVE_THROUGHPUT_OPTIMIZED",
            wire=open_inference(),
            environment=ENVIRONMENT,
            requirements=("ray[serve-grpc]==2.60.0", ORT),
            command=partial(_command, replicas),
            distribution="ray",
        )
        for replicas in (1, 2)
    ]


def _command(replicas: int, place: Place) -> Command:
    # Ray's sockets lie below it, and their names may have 107 characters at most.
    scratch = Path(tempfile.gettempdir()) / "isotherm-bench-ray"
    shutil.rmtree(scratch, ignore_errors=True)
    return app(
        "ray_app",
        ENVIRONMENT,
        WORKERS=str(replicas),
        HTTP_PORT=other_port(),
        SCRATCH=str(scratch),
        # "Performance tuning", "Enable throughput-optimized flags".
        RAY_SERVE_THROUGHPUT_OPTIMIZED="1",
        RAY_USAGE_STATS_ENABLED="0",
    )(place)
