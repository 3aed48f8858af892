"""Fixtures of the whole suite."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from isotherm.server.transport import experiments

# As in a worker's process, and before anything imports gRPC.
experiments.read_where_polled()

from tests.support import models  # noqa: E402
from tests.support.server import Server, serving  # noqa: E402

EXAMPLES = Path(__file__).parents[1] / "examples" / "models"
TRAINER = "tests/unit/trainer/"

# A busy machine is no mistake, and no change is to fail for an example that others never met.
_unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", _unhurried, derandomize=True)
settings.register_profile("other", _unhurried, derandomize=False)
settings.load_profile("same")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Three for two processors: much of a test of whole servers is waiting."""
    return len(os.sched_getaffinity(0)) * 3 // 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give a file to one worker, and all of the trainer's: what they share takes ten seconds."""
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

    if config.option.dist != "loadfile":
        return None
    scheduling = LoadFileScheduling(config, log)
    scheduling._split_scope = lambda name: (
        TRAINER if name.startswith(TRAINER) else name.partition("::")[0]
    )
    return scheduling


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the trainer's tests: no worker is to have them left when the others are done."""
    items.sort(key=lambda item: not item.nodeid.startswith(TRAINER))


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """A program under test may configure logging; the next test must not write to its streams."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(name="repository", scope="session")
def _repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository with one small model of every kind."""
    from onnx import TensorProto

    folder = tmp_path_factory.mktemp("models")
    contract = models.doubling_contract()
    models.publish(folder, "doubling", models.with_contract(models.doubling(), contract))
    models.publish(folder, "mlp", models.mlp())
    models.publish(folder, "wide", models.mlp((4, 8, 3)))
    models.publish(folder, "simple", models.simple())
    models.publish(folder, "labelled", models.labelled())
    models.publish(folder, "lookup", models.lookup())
    models.publish(folder, "fixed", models.fixed_batch())
    models.publish(folder, "text", models.identity())
    models.publish(folder, "variable", models.identity(TensorProto.FLOAT, ("length",)))
    models.publish(folder, "half", models.identity(TensorProto.FLOAT16, (2,)))
    return folder


@pytest.fixture(name="transport", scope="session", params=["core", "aio"])
def _transport(request: pytest.FixtureRequest) -> str:
    """Each transport in turn."""
    transport: str = request.param
    return transport


@pytest.fixture(name="server", scope="session")
def _server(repository: Path, transport: str) -> Iterator[Server]:
    """A running server on each transport."""
    with serving(repository, "--transport", transport) as server:
        yield server
