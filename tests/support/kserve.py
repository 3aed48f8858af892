"""A real KServe model server, over a repository like ours, on loopback.

It batches nothing over gRPC, has no versions, and no ModelConfig; it listens on all interfaces, for
which there is no flag.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.environments import environment
from tests.support.foreign import APPS, ONNXRUNTIME, Command, running
from tests.support.ports import free_port

REQUIREMENTS = ("kserve==0.21.0", ONNXRUNTIME)
ENVIRONMENT = "kserve"


def command(repository: Path, port: int) -> Command:
    """Return how to start it over the models of a repository `<model>/<version>/model.onnx`."""
    python = environment(ENVIRONMENT, *REQUIREMENTS)
    variables = {
        "REPOSITORY": str(repository),
        "PORT": str(port),
        "HTTP_PORT": str(free_port()),
        "PYTHONPATH": str(APPS),
    }
    return Command([python, APPS / "kserve_app.py"], variables)


@contextmanager
def kserve(repository: Path) -> Iterator[str]:
    """Run it until the block ends; yield its gRPC address once it is ready."""
    port = free_port()
    with (
        tempfile.TemporaryDirectory() as folder,
        running(command(repository, port), Path(folder), port),
    ):
        yield f"127.0.0.1:{port}"
