"""After a fault, calls succeed within a second, with the client that lived through it."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from isotherm.client import DeadlineExceededError, UnavailableError
from tests.faults.conftest import Connect
from tests.faults.drivers import RECOVERY_S, VALUES, fail, succeed
from tests.faults.scripted import scripted, waiting_for
from tests.support.proxy import Proxy
from tests.support.relay import HOST, Way
from tests.support.server import eventually, halted, serving

# Each waits for a server that starts again: together they take half a minute.
pytestmark = pytest.mark.slow

LONG_S = 10.0
# At the end of a server nobody waits for callers who do not listen any more.
GRACE = ("--grace", "1")


class Restarted:
    """A server that a test ends and starts again on the same port."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self._stack = ExitStack()
        self.server = self._stack.enter_context(serving(repository, *GRACE))

    def kill(self) -> None:
        """End it, and its workers, without a word."""
        self.server.stop(signal.SIGKILL)
        # Workers end when their supervisor is gone.
        assert eventually(lambda: not self._listens())

    def start(self) -> None:
        """Start it on the port that it had; return when it is ready."""
        port = str(self.server.grpc_port)
        self._stack.enter_context(serving(self._repository, "--grpc-port", port, *GRACE))

    def close(self) -> None:
        """End it for good."""
        self._stack.close()

    def _listens(self) -> bool:
        try:
            socket.create_connection((HOST, self.server.grpc_port), 1).close()
        except OSError:
            return False
        return True


@pytest.fixture(name="restarted")
def _restarted(repository: Path) -> Iterator[Restarted]:
    server = Restarted(repository)
    yield server
    server.close()


def test_a_server_that_was_killed_and_started_again_is_found(
    connect: Connect, restarted: Restarted
) -> None:
    """On the same port; meanwhile every caller is told so."""
    driver = connect(restarted.server.address)
    succeed(driver)
    restarted.kill()
    fail(driver)
    restarted.start()

    succeed(driver)


def test_a_server_that_comes_back_elsewhere_is_found_behind_its_address(
    connect: Connect, proxy: Proxy, restarted: Restarted
) -> None:
    """As behind a balancer that knows where it has gone."""
    driver = connect(proxy.address)
    succeed(driver)
    proxy.target = restarted.server.grpc_port
    proxy.reset()

    succeed(driver)
    # Counted once they are answered.
    series = 'isotherm_requests_total{code="OK",model="doubling",version="1"}'
    assert eventually(lambda: restarted.server.metric(series) > 0)


def test_connections_that_are_reset_time_and_again_are_made_anew(
    connect: Connect, proxy: Proxy
) -> None:
    """Between calls, each reset costs nobody an answer."""
    driver = connect(proxy.address)
    for _ in range(10):
        succeed(driver)
        proxy.reset()

    succeed(driver)


def test_a_reset_in_the_middle_of_calls_costs_no_answer(connect: Connect, proxy: Proxy) -> None:
    """What was in flight is asked again."""
    driver = connect(proxy.address)
    succeed(driver)
    proxy.hold(Way.ANSWERS)
    futures = [driver.predict(value, timeout=LONG_S) for value in VALUES]
    before = proxy.passed[Way.REQUESTS]
    assert eventually(lambda: proxy.passed[Way.REQUESTS] > before)
    proxy.reset()
    proxy.heal()

    assert [future.result(LONG_S).error for future in futures] == [None] * len(VALUES)


def test_a_server_that_was_halted_goes_on(connect: Connect, repository: Path) -> None:
    """Its connections are still good."""
    with serving(repository, *GRACE) as server:
        driver = connect(server.address)
        succeed(driver)
        with halted(server):
            fail(driver)

        succeed(driver)


def test_an_idle_client_does_not_hold_up_a_server_that_stops(
    connect: Connect, repository: Path
) -> None:
    """It hears that the server goes, and lets go: a server waits 20 s for one that does not."""
    with serving(repository) as server:
        driver = connect(server.address)
        for _ in range(5):
            succeed(driver)
        begin = time.monotonic()
        status = server.stop()
        took_s = time.monotonic() - begin

    assert status == 0
    assert took_s < 10


def test_a_slow_network_costs_time_alone(connect: Connect, proxy: Proxy) -> None:
    """A tenth of a second there, and another one back."""
    driver = connect(proxy.address)
    succeed(driver)
    proxy.delay(0.1)

    succeed(driver)


def test_a_connection_that_is_dead_without_a_sign_is_given_up(
    connect: Connect, proxy: Proxy
) -> None:
    """New connections work, and the old one is a black hole: a router has forgotten it."""
    driver = connect(proxy.address)
    succeed(driver)
    proxy.swallow()
    fail(driver)
    proxy.heal(silent=True)
    # Some of these may be what finds it out.
    errors = [end.error for end in driver.ask(VALUES, timeout=RECOVERY_S) if end.error]
    assert {type(error) for error in errors} <= {DeadlineExceededError}

    succeed(driver)


def test_those_who_can_wait_are_no_burden_to_those_who_cannot(
    connect: Connect, proxy: Proxy
) -> None:
    """Calls with time left hang in a half-open connection; it heals, and new calls succeed."""
    driver = connect(proxy.address)
    succeed(driver)
    proxy.swallow()
    patient = [driver.predict(value, timeout=LONG_S) for value in VALUES]
    assert eventually(lambda: proxy.swallowed[Way.REQUESTS] > 0)
    proxy.heal()
    succeed(driver)

    # A connection that no new call touches is not reset before their own time is up.
    errors = [error for future in patient if (error := future.result(2 * LONG_S).error)]
    assert {type(error) for error in errors} <= {DeadlineExceededError, UnavailableError}


def test_a_request_that_hangs_does_not_hold_up_those_after_it(connect: Connect) -> None:
    """A server stalls at one call, and answers the next ones."""
    release = threading.Event()
    with scripted() as server:
        driver = connect(server.address)
        succeed(driver)
        server.calls.clear()
        server.script.append(waiting_for(release))
        stalled = driver.predict(1.0, timeout=LONG_S)
        assert eventually(lambda: len(server.calls) == 1)
        succeed(driver)
        release.set()

        assert stalled.result(LONG_S).error is None
