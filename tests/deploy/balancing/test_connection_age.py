"""Behind a balancer of connections: what --max-connection-age does for a client that has one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deploy.balancing import balancers, ways
from tests.deploy.balancing.load import Load
from tests.deploy.balancing.replicas import SETTINGS, Fleet, fleet_of
from tests.deploy.balancing.scenarios import Outcome, rolling_restart

pytestmark = [pytest.mark.slow, pytest.mark.alone]

DRAIN_S = float(SETTINGS["ISOTHERM_DRAIN_DELAY"])
# For some connections of a second.
LENGTH_S = 5.0
CALLERS = 8
# Of two replicas the one must be known to be back before the other goes.
SETTLE_S = 1.0

# A fleet, and where the balancer in front of it listens.
Balanced = tuple[Fleet, str]


@pytest.fixture(name="resting", scope="module")
def _resting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balanced]:
    """Two replicas that leave connections as they are."""
    with balanced(tmp_path_factory.mktemp("resting"), "0") as fleet:
        yield fleet


@pytest.fixture(name="moving", scope="module")
def _moving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balanced]:
    """Two replicas that end each connection after a second."""
    with balanced(tmp_path_factory.mktemp("moving"), "1") as fleet:
        yield fleet


def test_one_clients_calls_go_to_all_replicas_in_turn(resting: Balanced, moving: Balanced) -> None:
    """Not one call is lost: a GOAWAY for age is a polite one. Without an age one has them all."""
    with ways.plain(resting[1]) as staying, ways.plain(moving[1]) as going:
        with Load(staying, CALLERS).asking() as still, Load(going, CALLERS).asking() as moved:
            threading.Event().wait(LENGTH_S)
        one, both = still.shares(2 * LENGTH_S), moved.shares(2 * LENGTH_S)

    print(f"calls a replica in {LENGTH_S} s: {dict(one)} without an age, {dict(both)} with 1 s")
    assert len(one) == 1
    assert min(both[0], both[1]) > both.total() / 5
    assert not still.errors()
    assert not moved.errors()


def test_an_age_below_the_drain_delay_lets_a_client_leave_in_time(
    resting: Balanced, moving: Balanced
) -> None:
    """One that watches no health and repeats nothing; without an age it stays to the end."""
    with ThreadPoolExecutor() as pool:
        stayed, left = pool.map(restarted, (resting, moving))

    print(f"stayed {stayed.left_s:.1f} s, {dict(stayed.errors)}; left after {left.left_s:.1f} s")
    assert stayed.left_s > DRAIN_S - 0.5
    assert left.left_s < DRAIN_S - 0.5
    assert not left.errors


def restarted(fleet: Balanced) -> Outcome:
    """Restart all replicas under the calls of one client."""
    with ways.plain(fleet[1]) as ask:
        return rolling_restart(fleet[0], {"": ask}, spread=False, settle_s=SETTLE_S)[""]


@contextmanager
def balanced(folder: Path, age_s: str) -> Iterator[Balanced]:
    """Run two replicas behind a balancer of connections until the block ends."""
    with fleet_of(2, folder, {"ISOTHERM_MAX_CONNECTION_AGE": age_s}) as fleet:
        fleet.start()
        with balancers.connections(fleet, folder) as balancer:
            yield fleet, balancer.address
