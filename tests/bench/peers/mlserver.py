"""MLServer with a custom runtime."""

from __future__ import annotations

from functools import partial

from tests.bench.peers.peer import Peer, Place
from tests.bench.peers.wire import open_inference
from tests.support import mlserver
from tests.support.foreign import Command


def peers() -> list[Peer]:
    """Return it with inference in the server's process, and in a pool of one worker a core.

    Adaptive batching made the first slower here, and the second faster: each has what suits it.
    """
    return [
        Peer(
            name=f"MLServer, {title}",
            family="MLServer",
            settings=f"parallel_workers {workers}, "
            + (f"adaptive batching of {batch}, 1 ms" if batch else "no batching"),
            wire=open_inference(),
            environment=mlserver.ENVIRONMENT,
            requirements=mlserver.REQUIREMENTS,
            command=partial(_command, workers, batch),
            distribution="mlserver",
        )
        for title, workers, batch in (
            ("in process", 0, 0),
            ("2 workers", 2, 64),
        )
    ]


def _command(workers: int, batch: int, place: Place) -> Command:
    return mlserver.command(
        place.repository(), place.folder, place.port, workers=workers, batch_size=batch
    )
