"""A replica that is added has its share of the calls within five seconds."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.deploy.balancing import balancers, ways
from tests.deploy.balancing.replicas import HOSTS, fleet_of
from tests.deploy.balancing.scenarios import scale_up
from tests.support.names import naming

pytestmark = [pytest.mark.slow, pytest.mark.alone]

PROMISED_S = 5.0


def test_a_balancer_finds_it_by_its_health(tmp_path: Path) -> None:
    """It was in the list before, and nobody answered there."""
    with ExitStack() as stack:
        fleet = stack.enter_context(fleet_of(len(HOSTS), tmp_path))
        fleet.start(fleet.replicas[:-1])
        asks = {
            each.__name__: stack.enter_context(
                ways.plain(stack.enter_context(each(fleet, tmp_path)).address)
            )
            for each in (balancers.envoy, balancers.haproxy)
        }
        outcomes = scale_up(fleet, asks)

    print(outcomes)
    assert all(took_s < PROMISED_S for took_s, _ in outcomes.values())
    assert not any(outcome.errors for _, outcome in outcomes.values())


def test_a_client_finds_it_by_its_name(tmp_path: Path) -> None:
    """When a connection is two seconds old its server ends it, and the name is asked again."""
    settings = {"ISOTHERM_MAX_CONNECTION_AGE": "2"}
    with ExitStack() as stack:
        fleet = stack.enter_context(fleet_of(len(HOSTS), tmp_path, settings))
        names = stack.enter_context(naming(*HOSTS[:-1]))
        fleet.start(fleet.replicas[:-1])
        target = names.target(fleet.ports.grpc)
        asks = {
            each.__name__: stack.enter_context(each(target))
            for each in (ways.bare_round_robin, ways.client, ways.async_client)
        }

        def tell() -> None:
            names.addresses = HOSTS

        outcomes = scale_up(fleet, asks, tell)

    print(outcomes)
    assert all(took_s < PROMISED_S for took_s, _ in outcomes.values())
    assert not any(outcome.errors for _, outcome in outcomes.values())
