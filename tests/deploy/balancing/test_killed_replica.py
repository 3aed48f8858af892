"""A replica that is killed costs the calls that it had, or none where they are repeated."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from isotherm.client import Retry
from tests.deploy.balancing import balancers, ways
from tests.deploy.balancing.replicas import Fleet
from tests.deploy.balancing.scenarios import kill

pytestmark = pytest.mark.slow


def test_without_retries_calls_in_flight_alone_are_lost(fleet: Fleet) -> None:
    """By gRPC's own client, and by ours where it is told to repeat nothing."""
    once = Retry(attempts=1)
    with (
        ways.bare_round_robin(fleet.target) as grpcs,
        ways.client(fleet.target, retry=once) as blocking,
        ways.async_client(fleet.target, retry=once) as asyncios,
    ):
        outcomes = kill(fleet, {"grpc": grpcs, "client": blocking, "async client": asyncios})

    for name, outcome in outcomes.items():
        print(f"{name}: {outcome}")
    # Or the test would show nothing.
    assert outcomes["grpc"].errors
    assert all(outcome.failed <= outcome.in_flight for outcome in outcomes.values())
    assert not any(outcome.late for outcome in outcomes.values())


def test_with_retries_no_call_is_lost(fleet: Fleet, tmp_path: Path) -> None:
    """By our clients, by gRPC's as the page sets it, and by balancers that repeat inference."""
    with ExitStack() as stack:
        envoy = stack.enter_context(balancers.envoy(fleet, tmp_path))
        haproxy = stack.enter_context(balancers.haproxy(fleet, tmp_path))
        asks = {
            "client": ways.client(fleet.target),
            "async client": ways.async_client(fleet.target),
            "round_robin": ways.round_robin(fleet.target),
            "envoy": ways.plain(envoy.address),
            "haproxy": ways.plain(haproxy.address),
        }
        opened = {name: stack.enter_context(each) for name, each in asks.items()}
        outcomes = kill(fleet, opened)

    assert not [(name, outcome.errors) for name, outcome in outcomes.items() if outcome.errors]
