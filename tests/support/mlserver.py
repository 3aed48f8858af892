"""A real MLServer, over a repository like ours, on loopback.

It has no ModelConfig and no statistics; models are loaded and unloaded as callers ask.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.environments import environment
from tests.support.foreign import APPS, ONNXRUNTIME, Command, running
from tests.support.ports import free_port

# With newer ones of uvloop its workers find no event loop, and die.
REQUIREMENTS = ("mlserver==1.7.1", "setuptools<81", "uvloop<0.22", ONNXRUNTIME)
ENVIRONMENT = "mlserver"


def command(
    repository: Path, folder: Path, port: int, *, workers: int = 0, batch_size: int = 0
) -> Command:
    """Return how to start it over the models of a repository `<model>/<version>/model.onnx`.

    Its settings go into the folder. With workers, models run in as many processes of their own;
    with a batch size, requests are gathered for a millisecond.
    """
    settings = {
        "host": "127.0.0.1",
        "grpc_port": port,
        "http_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": workers,
        "debug": False,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    for file in repository.glob("*/*/model.onnx"):
        version = file.parent
        own = folder / version.parent.name / version.name
        own.mkdir(parents=True, exist_ok=True)
        model = {
            "name": version.parent.name,
            "implementation": "mlserver_app.Runtime",
            "parameters": {"uri": str(file), "version": version.name},
            # No batching unless both are set: "Adaptive batching".
            "max_batch_size": batch_size,
            "max_batch_time": 0.001 if batch_size else 0,
        }
        (own / "model-settings.json").write_text(json.dumps(model))
    program = environment(ENVIRONMENT, *REQUIREMENTS).with_name("mlserver")
    return Command([program, "start", folder], {"PYTHONPATH": str(APPS)})


@contextmanager
def mlserver(repository: Path) -> Iterator[str]:
    """Run it until the block ends; yield its gRPC address once it is ready."""
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running(command(repository, folder, port), folder, port):
            yield f"127.0.0.1:{port}"
