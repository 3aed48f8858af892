"""MLServer with a custom runtime."""

from __future__ import annotations

import json
from functools import partial

from tests.bench.peers.peer import APPS, ORT, ROOT, Command, Peer, Place, app_variables, other_port
from tests.bench.peers.wire import open_inference

ENVIRONMENT = "peer-mlserver"


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
            environment=ENVIRONMENT,
            # With newer ones of uvloop its workers find no event loop, and die.
            requirements=("mlserver==1.7.1", "setuptools<81", "uvloop<0.22", ORT),
            command=partial(_command, workers, batch),
            distribution="mlserver",
        )
        for title, workers, batch in (
            ("in process", 0, 0),
            ("2 workers", 2, 64),
        )
    ]


def _command(workers: int, batch: int, place: Place) -> Command:
    (place.folder / "settings.json").write_text(
        json.dumps(
            {
                "host": "127.0.0.1",
                "grpc_port": place.port,
                "http_port": int(other_port()),
                "metrics_port": int(other_port()),
                "parallel_workers": workers,
                "debug": False,
            }
        )
    )
    (place.folder / "model-settings.json").write_text(
        json.dumps(
            {
                "name": "m",
                "implementation": "mlserver_app.Runtime",
                # No batching unless both are set: "Adaptive batching".
                "max_batch_size": batch,
                "max_batch_time": 0.001 if batch else 0,
            }
        )
    )
    program = ROOT / "build" / "environments" / ENVIRONMENT / "bin" / "mlserver"
    variables = app_variables(place) | {"PYTHONPATH": str(APPS)}
    return Command([program, "start", place.folder], variables)
