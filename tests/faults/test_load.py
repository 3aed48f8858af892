"""A server that goes and comes back while many callers ask."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from isotherm.client import CallCancelledError, DeadlineExceededError, UnavailableError
from tests.faults.conftest import Connect
from tests.faults.drivers import RECOVERY_S, Driver, End
from tests.support.proxy import proxied
from tests.support.server import eventually, serving

CALLERS = 16
# Of a client, by default.
CONNECTIONS = 4
TIMEOUT_S = 2.0
GRACE = ("--grace", "2")
# What callers may be told while a server is gone.
DOCUMENTED = {UnavailableError, DeadlineExceededError, CallCancelledError}


class Load:
    """Callers who ask one after the other, each with numbers of its own."""

    def __init__(self, driver: Driver) -> None:
        self.ends: list[End] = []
        self._driver = driver
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(CALLERS)]

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask as long as the block lasts."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join()

    def goes_on(self, calls: int = 200) -> bool:
        """Tell whether so many more calls succeed."""
        enough = self.answered() + calls
        return eventually(lambda: self.answered() >= enough)

    def answered(self) -> int:
        """How many calls succeeded."""
        return sum(end.error is None for end in tuple(self.ends))

    def _ask(self, caller: int) -> None:
        for number in itertools.count(caller, CALLERS):
            if self._over.is_set():
                return
            end = self._driver.predict(number % (1 << 20), timeout=TIMEOUT_S).result(60)
            self.ends.append(end)
            if end.error is not None:
                # Nobody asks a server that is gone as fast as it can say so.
                self._over.wait(0.05)


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_under_load_fails_calls_as_documented_and_then_none(
    connect: Connect, repository: Path, number: signal.Signals
) -> None:
    """No answer is wrong, no call hangs, and soon after the server is back none fails.

    Others have a second for that (`RECOVERY_S`). Here sixteen callers ask meanwhile, so that a
    connection tried at the wrong moment has used up a second of its own before it is given up.
    """
    with serving(repository, *GRACE) as server:
        driver = connect(server.address)
        load = Load(driver)
        with load.asking():
            begun = load.goes_on()
            server.stop(number)
            with serving(repository, "--grpc-port", str(server.grpc_port), *GRACE):
                ends = driver.ask(range(CALLERS), timeout=2 * RECOVERY_S)
                gone_on = load.goes_on()

    assert begun
    assert gone_on
    assert not [end.error for end in ends if end.error]
    assert {type(end.error) for end in load.ends if end.error} <= DOCUMENTED
    assert max(end.took_s for end in load.ends) < TIMEOUT_S + 2


def test_a_worker_that_is_killed_under_load_costs_no_answer(
    connect: Connect, repository: Path
) -> None:
    """What was in flight there is asked again, at the other one."""
    with serving(repository, "--workers", "2", *GRACE) as server:
        load = Load(connect(server.address))
        with load.asking():
            begun = load.goes_on()
            os.kill(server.workers()[0], signal.SIGKILL)
            gone_on = load.goes_on()

    assert begun
    assert gone_on
    assert not [end.error for end in load.ends if end.error]


@pytest.mark.alone
@pytest.mark.slow
def test_connections_that_age_under_load_cost_no_answer(connect: Connect, repository: Path) -> None:
    """A server that sends its callers away every second, to be spread anew: GOAWAY upon GOAWAY."""
    with (
        serving(repository, "--max-connection-age", "1", *GRACE) as server,
        proxied(server.grpc_port) as proxy,
    ):
        load = Load(connect(proxy.address))
        with load.asking():
            sent_away = eventually(lambda: proxy.accepted > 2 * CONNECTIONS, 30)
            gone_on = load.goes_on()

    assert sent_away
    assert gone_on
    assert not [end.error for end in load.ends if end.error]
