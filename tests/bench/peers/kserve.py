"""KServe's SDK: a custom model on its model server, which batches nothing over gRPC.

It listens on all interfaces: there is no flag for that.
"""

from __future__ import annotations

from tests.bench.peers.peer import ORT, Command, Peer, Place, app, other_port
from tests.bench.peers.wire import open_inference

ENVIRONMENT = "peer-kserve"


def peers() -> list[Peer]:
    """Return it with its one process: its workers are for REST alone."""
    return [
        Peer(
            name="KServe SDK",
            family="KServe SDK",
            settings="one process (its workers are for REST), no latency log",
            wire=open_inference(),
            environment=ENVIRONMENT,
            requirements=("kserve==0.21.0", ORT),
            command=_command,
            distribution="kserve",
        )
    ]


def _command(place: Place) -> Command:
    return app("kserve_app", ENVIRONMENT, HTTP_PORT=other_port())(place)
