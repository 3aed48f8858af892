"""No call fails while all replicas are restarted, and without the drain calls do."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.deploy.balancing import balancers, ways
from tests.deploy.balancing.replicas import HOSTS, Fleet, fleet_of
from tests.deploy.balancing.scenarios import rolling_restart

pytestmark = pytest.mark.slow


def test_behind_envoy_no_call_fails(fleet: Fleet, tmp_path: Path) -> None:
    """None has to be repeated either: the replicas are left in time."""
    with balancers.envoy(fleet, tmp_path) as envoy, ways.plain(envoy.address) as ask:
        outcomes = rolling_restart(fleet, {"envoy": ask})
        repeated = envoy.repeated()

    assert not outcomes["envoy"].errors
    assert not repeated


def test_behind_haproxy_no_call_fails_and_behind_nginx_they_are_counted(
    fleet: Fleet, tmp_path: Path
) -> None:
    """The one asks for health, the other cannot: what it loses is printed."""
    with (
        balancers.haproxy(fleet, tmp_path) as haproxy,
        balancers.nginx(fleet, tmp_path) as nginx,
        ways.plain(haproxy.address) as through_haproxy,
        ways.plain(nginx.address) as through_nginx,
    ):
        outcomes = rolling_restart(fleet, {"haproxy": through_haproxy, "nginx": through_nginx})
        repeated = haproxy.repeated()

    lost = outcomes["nginx"]
    print(f"nginx: {lost.failed} of {lost.calls} calls failed: {dict(lost.errors)}")
    assert not outcomes["haproxy"].errors
    assert not repeated
    assert lost.failed < lost.calls / 50


def test_with_grpcs_own_balancing_no_call_fails(fleet: Fleet) -> None:
    """By round_robin with health watched, and nothing repeated."""
    with ways.bare_round_robin(fleet.target) as ask:
        outcomes = rolling_restart(fleet, {"round_robin": ask})

    assert not outcomes["round_robin"].errors


def test_with_our_clients_no_call_fails(fleet: Fleet) -> None:
    """They balance and watch health by themselves."""
    with ways.client(fleet.target) as blocking, ways.async_client(fleet.target) as asyncio:
        outcomes = rolling_restart(fleet, {"client": blocking, "async client": asyncio})

    assert not outcomes["client"].errors
    assert not outcomes["async client"].errors


def test_without_the_drain_calls_fail(tmp_path: Path) -> None:
    """The control: servers that end at once, behind an Envoy that repeats nothing."""
    with ExitStack() as stack:
        settings = {"ISOTHERM_DRAIN_DELAY": "0"}
        fleet = stack.enter_context(fleet_of(len(HOSTS), tmp_path, settings))
        fleet.start()
        envoy = stack.enter_context(balancers.envoy(fleet, tmp_path, balancers.NO_RETRIES))
        ask = stack.enter_context(ways.plain(envoy.address))
        outcome = rolling_restart(fleet, {"envoy": ask})["envoy"]

    print(f"without drain: {outcome.failed} of {outcome.calls}: {dict(outcome.errors)}")
    assert outcome.failed > len(HOSTS)
