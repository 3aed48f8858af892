"""FastAPI, uvicorn and onnxruntime: what people write by hand."""

from __future__ import annotations

from tests.bench.peers.peer import Peer, app
from tests.bench.peers.wire import json_lists
from tests.support.foreign import ONNXRUNTIME

ENVIRONMENT = "peer-fastapi"


def peers() -> list[Peer]:
    """Return it with one uvicorn worker, and with one a core."""
    return [
        Peer(
            name=f"FastAPI by hand, {workers} worker{'s' * (workers > 1)}",
            family="FastAPI by hand",
            settings="uvicorn with uvloop and httptools, no batching, no access log",
            wire=json_lists(lambda answer: answer["y"]),
            environment=ENVIRONMENT,
            requirements=("fastapi==0.165.0", "uvicorn[standard]==0.54.0", ONNXRUNTIME),
            command=app("fastapi_app", ENVIRONMENT, WORKERS=str(workers)),
            distribution="fastapi",
        )
        for workers in (1, 2)
    ]
