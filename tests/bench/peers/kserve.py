"""KServe's SDK: a custom model on its model server, which batches nothing over gRPC.

It listens on all interfaces: there is no flag for that.
"""

from __future__ import annotations

from tests.bench.peers.peer import Peer, Place
from tests.bench.peers.wire import open_inference
from tests.support import kserve
from tests.support.foreign import Command


def peers() -> list[Peer]:
    """Return it with its one process: its workers are for REST alone."""
    return [
        Peer(
            name="KServe SDK",
            family="KServe SDK",
            settings="one process (its workers are for REST), no latency log",
            wire=open_inference(),
            environment=kserve.ENVIRONMENT,
            requirements=kserve.REQUIREMENTS,
            command=_command,
            distribution="kserve",
        )
    ]


def _command(place: Place) -> Command:
    return kserve.command(place.repository(), place.port)
