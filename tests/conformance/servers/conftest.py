"""Fixtures: each server in turn, and each client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.servers.peers import ISOTHERM, KSERVE, MLSERVER, TRITON, Running, files
from tests.support import models
from tests.support.callers import Awaiting, Blocking, Caller

# Servers share two cores with other tests: no call is to fail for that.
TIMEOUT_S = 30.0


@pytest.fixture(
    name="running",
    scope="module",
    params=[
        pytest.param(ISOTHERM, id=ISOTHERM.name),
        *(
            pytest.param(peer, id=peer.name, marks=pytest.mark.slow)
            for peer in (TRITON, MLSERVER, KSERVE)
        ),
    ],
)
def _running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """A server over the same ONNX files as all others."""
    repository = tmp_path_factory.mktemp("models")
    for name, model in files().items():
        models.publish(repository, name, model)
    with request.param.start(repository) as address:
        yield Running(request.param, address)


@pytest.fixture(name="caller", params=[Blocking, Awaiting], ids=["sync", "async"])
def _caller(request: pytest.FixtureRequest, running: Running) -> Iterator[Caller]:
    """A client of the server, of either kind."""
    with request.param(running.address, timeout=TIMEOUT_S) as caller:
        yield caller
