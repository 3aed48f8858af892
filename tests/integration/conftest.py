"""Fixtures of the tests that run whole servers."""

from __future__ import annotations

import pytest


@pytest.fixture(
    name="transport",
    scope="session",
    params=["core", pytest.param("aio", marks=pytest.mark.slow)],
)
def _transport(request: pytest.FixtureRequest) -> str:
    """The default transport; the other one with the slow tests, since each starts its servers.

    The conformance suite runs on both at all times.
    """
    transport: str = request.param
    return transport
