"""Fixtures of the tests that balance over several servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.balancing.replicas import HOSTS, Fleet, fleet_of


@pytest.fixture(name="fleet", scope="session")
def _fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Three replicas that run; a test leaves them so."""
    with fleet_of(len(HOSTS), tmp_path_factory.mktemp("fleet")) as fleet:
        fleet.start()
        yield fleet
