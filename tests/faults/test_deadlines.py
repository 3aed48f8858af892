"""No call outlives its deadline, whatever happens on the way; once that is over, calls succeed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.conftest import Connect
from tests.faults.drivers import fail, succeed
from tests.support.proxy import Proxy
from tests.support.relay import Way

# Each waits for deadlines to pass: together they take half a minute.
pytestmark = pytest.mark.slow


def gone(proxy: Proxy) -> None:
    """Let the server be gone: its connections are reset, and nobody listens."""
    proxy.refuse()
    proxy.reset()


# What is done to a proxy between a client and its server.
FAULTS: dict[str, Callable[[Proxy], object]] = {
    "late": lambda proxy: proxy.delay(60),
    "interrupted": Proxy.hold,
    "half-open": Proxy.swallow,
    "half-open-and-refusing": lambda proxy: proxy.swallow(refuses=True),
    "requests-lost": lambda proxy: proxy.swallow(Way.REQUESTS),
    "answers-lost": lambda proxy: proxy.swallow(Way.ANSWERS),
    "gone": gone,
}


@pytest.fixture(name="fault", params=FAULTS)
def _fault(request: pytest.FixtureRequest) -> Callable[[Proxy], object]:
    return FAULTS[request.param]


def test_no_call_outlives_its_deadline_and_the_next_ones_succeed(
    connect: Connect, proxy: Proxy, fault: Callable[[Proxy], object]
) -> None:
    """The fault comes between calls."""
    driver = connect(proxy.address)
    succeed(driver)
    fault(proxy)
    fail(driver)
    proxy.heal()

    succeed(driver)


@pytest.mark.slow
def test_a_client_made_during_the_fault_finds_the_server_after_it(
    connect: Connect, proxy: Proxy, fault: Callable[[Proxy], object]
) -> None:
    """It knows neither the server nor the model yet."""
    fault(proxy)
    driver = connect(proxy.address)
    fail(driver)
    proxy.heal()

    succeed(driver)
