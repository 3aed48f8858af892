"""Several servers behind one name: calls go to all of them, and one of them may go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from isotherm.client import DeadlineExceededError, IsothermError, Retry, UnavailableError
from tests.faults.conftest import Connect
from tests.faults.drivers import RECOVERY_S, VALUES, Driver
from tests.support.names import NameServer, naming
from tests.support.ports import free_port
from tests.support.proxy import Proxy, proxied
from tests.support.relay import Way
from tests.support.server import Server, eventually, serving

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
NO_RETRIES = Retry(attempts=1)
TIMEOUT_S = 5.0
ROUNDS = 20
SERIES = 'isotherm_requests_total{code="OK",model="doubling",version="1"}'


@dataclass
class Fleet:
    """Three servers, on one port of three addresses, each behind a proxy of its own."""

    servers: list[Server]
    proxies: list[Proxy]
    names: NameServer

    def target(self, scheme: str) -> str:
        """What a client is to call."""
        if scheme == "dns":
            return self.names.target(self.proxies[0].port)
        return "ipv4:" + ",".join(proxy.address for proxy in self.proxies)

    def lose(self, index: int) -> None:
        """Let one be gone: its connections are reset, and nobody listens."""
        self.proxies[index].refuse()
        self.proxies[index].reset()

    def answered(self) -> list[int]:
        """How much each has sent to callers."""
        return [proxy.passed[Way.ANSWERS] for proxy in self.proxies]


@pytest.fixture(name="servers", scope="module")
def _servers(repository: Path) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        yield [stack.enter_context(serving(repository, "--grace", "1")) for _ in HOSTS]


@pytest.fixture(name="fleet")
def _fleet(servers: list[Server]) -> Iterator[Fleet]:
    port = free_port()
    with ExitStack() as stack:
        proxies = [
            stack.enter_context(proxied(server.grpc_port, host, port))
            for server, host in zip(servers, HOSTS, strict=True)
        ]
        yield Fleet(servers, proxies, stack.enter_context(naming(*HOSTS)))


def ask(driver: Driver, rounds: int = 1) -> list[IsothermError]:
    """Make some rounds of calls, each at once; return the errors."""
    ends = [end for _ in range(rounds) for end in driver.ask(VALUES, timeout=TIMEOUT_S)]
    return [end.error for end in ends if end.error]


def reaches(driver: Driver, fleet: Fleet, indices: set[int]) -> bool:
    """Tell whether calls come to go to these servers, and to no other."""

    def reached() -> bool:
        before = fleet.answered()
        # Merged, a round is a call or two.
        assert not ask(driver, ROUNDS)
        grown = zip(before, fleet.answered(), strict=True)
        return indices == {index for index, (old, new) in enumerate(grown) if new > old}

    return eventually(reached, TIMEOUT_S)


@pytest.mark.parametrize("scheme", ["ipv4", "dns"])
def test_one_of_three_servers_goes_and_comes_back(
    connect: Connect, fleet: Fleet, scheme: str
) -> None:
    """Without any retry, calls in flight are all that is lost."""
    driver = connect(fleet.target(scheme), retry=NO_RETRIES)
    assert reaches(driver, fleet, {0, 1, 2})
    futures = [driver.predict(value, timeout=TIMEOUT_S) for value in VALUES]
    fleet.lose(1)
    lost = [error for future in futures if (error := future.result(2 * TIMEOUT_S).error)]
    # The connection's end may reach the client after the next call has been put on it.
    lost += ask(driver)
    assert {type(error) for error in lost} <= {UnavailableError}
    assert not ask(driver, ROUNDS)
    assert reaches(driver, fleet, {0, 2})
    fleet.proxies[1].heal()

    assert reaches(driver, fleet, {0, 1, 2})


@pytest.mark.parametrize("scheme", ["ipv4", "dns"])
def test_with_retries_nobody_notices_a_server_that_goes(
    connect: Connect, fleet: Fleet, scheme: str
) -> None:
    """Not even those whose calls were in flight there."""
    driver = connect(fleet.target(scheme))
    assert reaches(driver, fleet, {0, 1, 2})
    for index in (0, 1, 2):
        futures = [driver.predict(value, timeout=TIMEOUT_S) for value in VALUES]
        fleet.lose(index)
        assert not [error for future in futures if (error := future.result(TIMEOUT_S).error)]
        assert not ask(driver, 5)
        fleet.proxies[index].heal()
        assert reaches(driver, fleet, {0, 1, 2})


@pytest.mark.slow
def test_a_server_that_stops_is_left_in_time(connect: Connect, repository: Path) -> None:
    """It says that it stops, serves on for a while, and no call is lost, without any retry."""
    with ExitStack() as stack:
        flags = ("--drain-delay", "1", "--grace", "2")
        servers = [stack.enter_context(serving(repository, *flags)) for _ in HOSTS]
        target = "ipv4:" + ",".join(server.address for server in servers)
        driver = connect(target, retry=NO_RETRIES)

        def asked() -> bool:
            # A connection that is slower than the others comes when their rounds are over.
            assert not ask(driver, ROUNDS)
            return all(server.metric(SERIES) for server in servers)

        assert eventually(asked)
        servers[1].process.terminate()
        errors = []
        while servers[1].process.poll() is None:
            errors += ask(driver)
        errors += ask(driver, ROUNDS)

    assert not errors


def test_a_name_server_that_is_silent_holds_nobody_up(connect: Connect, fleet: Fleet) -> None:
    """Not beyond the deadline; once it answers, calls succeed."""
    fleet.names.silent = True
    driver = connect(fleet.target("dns"))
    late = driver.ask(VALUES, timeout=0.4)
    fleet.names.silent = False

    assert {type(end.error) for end in late} <= {DeadlineExceededError, UnavailableError}
    assert eventually(lambda: one_succeeds(driver))


def one_succeeds(driver: Driver) -> bool:
    """Tell whether a call succeeds now."""
    (end,) = driver.ask([1.0], timeout=RECOVERY_S)
    return end.error is None


def test_a_name_with_new_addresses_is_followed(connect: Connect, fleet: Fleet) -> None:
    """Servers come and go, and the name says which: pods behind a headless service."""
    fleet.names.addresses = HOSTS[:1]
    driver = connect(fleet.target("dns"))
    assert reaches(driver, fleet, {0})
    fleet.names.addresses = HOSTS[1:]
    fleet.lose(0)
    ends = driver.ask(VALUES, timeout=RECOVERY_S)

    assert not [end.error for end in ends if end.error]
    assert reaches(driver, fleet, {1, 2})
