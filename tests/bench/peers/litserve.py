"""LitServe with batching."""

from __future__ import annotations

from tests.bench.peers.peer import Peer, app
from tests.bench.peers.wire import json_lists
from tests.support.foreign import ONNXRUNTIME

ENVIRONMENT = "peer-litserve"


def peers() -> list[Peer]:
    """Return it with ways to share two cores between its API servers and its workers."""
    return [
        Peer(
            name=f"LitServe, {servers} API server{'s' * (servers > 1)}",
            family="LitServe",
            settings="batches of at most 64 requests without a wait, fast queue",
            wire=json_lists(lambda answer: answer["y"]),
            environment=ENVIRONMENT,
            requirements=("litserve==0.2.19", ONNXRUNTIME),
            command=app(
                "litserve_app",
                ENVIRONMENT,
                WORKERS="1",
                API_SERVERS=str(servers),
                BATCH="64",
            ),
            distribution="litserve",
        )
        for servers in (1, 2)
    ]
