"""Isotherm, as it starts by default: metrics, vetting and admission on."""

from __future__ import annotations

import sys
from functools import partial

from tests.bench.peers.peer import Peer, Place, other_port
from tests.bench.peers.wire import open_inference
from tests.support.foreign import Command


def peers() -> list[Peer]:
    """Return it with one worker, and with one a core."""
    return [
        Peer(
            name=f"Isotherm, {workers} worker{'s' * (workers > 1)}",
            family="Isotherm",
            settings="defaults, a queue of a million rows, an access log of 1 %",
            wire=open_inference(),
            # It runs from this checkout; the environment is there to be weighed.
            environment="peer-isotherm",
            requirements=(".[server]",),
            command=partial(_command, workers),
            everything=True,
            distribution="isotherm",
        )
        for workers in (1, 2)
    ]


def _command(workers: int, place: Place) -> Command:
    return Command(
        [
            *(sys.executable, "-m", "isotherm.server", place.repository(), "--log-level", "error"),
            *("--grpc-port", str(place.port), "--metrics-port", other_port()),
            *("--workers", str(workers)),
            # The largest load has 262 144 rows in flight, which the default would refuse in part.
            # Triton's queue has no bound by default. And an access log, so that all is switched on.
            *("--max-queue-rows", "1000000", "--access-log", "0.01"),
        ],
        {},
    )
