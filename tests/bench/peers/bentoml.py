"""BentoML with adaptive batching; its main server takes no binary arrays, so JSON."""

from __future__ import annotations

from functools import partial

from tests.bench.peers.peer import APPS, PYTHONPATH, ROOT, Peer, Place, app_variables
from tests.bench.peers.wire import json_lists
from tests.support.foreign import ONNXRUNTIME, Command

ENVIRONMENT = "peer-bentoml"


def peers() -> list[Peer]:
    """Return it with one worker, and with one a core."""
    return [
        Peer(
            name=f"BentoML, {workers} worker{'s' * (workers > 1)}",
            family="BentoML",
            settings="adaptive batching, at most 2 048 rows, no access log",
            wire=json_lists(lambda answer: answer),
            environment=ENVIRONMENT,
            requirements=("bentoml==1.4.40", ONNXRUNTIME),
            command=partial(_command, workers),
            distribution="bentoml",
        )
        for workers in (1, 2)
    ]


def _command(workers: int, place: Place) -> Command:
    program = ROOT / "build" / "environments" / ENVIRONMENT / "bin" / "bentoml"
    return Command(
        [
            *(program, "serve", "bentoml_app:Model", "--working-dir", APPS),
            *("--host", "127.0.0.1", "--port", str(place.port)),
        ],
        app_variables(place, WORKERS=str(workers))
        | {
            "PYTHONPATH": PYTHONPATH,
            "BENTOML_HOME": str(place.folder / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "True",
        },
    )
