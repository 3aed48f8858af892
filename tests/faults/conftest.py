"""Fixtures of the tests that break the way between a client and its server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from isotherm.client import _shortcut, _trace
from tests.faults.drivers import MODEL, Driver, Tasks, Threads
from tests.support import models
from tests.support.proxy import Proxy, proxied
from tests.support.server import Server, serving

Connect = Callable[..., Driver]
KINDS = {"threads": Threads, "tasks": Tasks}


@pytest.fixture(autouse=True)
def _nobody_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls take the short way, though other tests of this run have imported OpenTelemetry."""
    monkeypatch.setattr(_shortcut, "TRACING", f"no.{_trace.MODULE}")


@pytest.fixture(name="repository", scope="session")
def _repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose answer tells who asked."""
    folder = tmp_path_factory.mktemp("models")
    models.publish(folder, MODEL, models.doubling())
    return folder


@pytest.fixture(name="server", scope="session")
def _server(repository: Path) -> Iterator[Server]:
    """A server that lives through all tests: the way to it is what breaks."""
    with serving(repository) as server:
        yield server


@pytest.fixture(name="proxy")
def _proxy(server: Server) -> Iterator[Proxy]:
    with proxied(server.grpc_port) as proxy:
        yield proxy


@pytest.fixture(
    name="connect",
    params=[
        "threads-merged",
        "tasks-merged",
        pytest.param("threads-single", marks=pytest.mark.slow),
        pytest.param("tasks-single", marks=pytest.mark.slow),
    ],
)
def _connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Make clients of either kind, that merge calls or do not; they are closed at the end."""
    kind, merging = request.param.split("-")
    with ExitStack() as stack:

        def connect(target: str, **options: object) -> Driver:
            options.setdefault("coalesce", merging == "merged")
            driver = KINDS[kind](target, **options)
            stack.callback(driver.close)
            return driver

        yield connect
