"""The metrics port, over real HTTP."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from isotherm.server.endpoint import Endpoint, check_page, html_page, metrics_page
from isotherm.server.errors import PortError

Answer = tuple[int, str, str]


class Condition:
    """Something that holds, or does not."""

    holds = True


@pytest.fixture(name="condition")
def _condition() -> Condition:
    """What the check page asks."""
    return Condition()


@pytest.fixture(name="endpoint")
def _endpoint(condition: Condition) -> Iterator[Endpoint]:
    """A running metrics port with one counter and one check."""
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc(3)
    pages = {
        "/metrics": metrics_page(registry),
        "/healthz": check_page(lambda: condition.holds, "live", "stuck"),
        "/": html_page(lambda: "<!DOCTYPE html>"),
    }
    endpoint = Endpoint("127.0.0.1", 0, pages)
    endpoint.start()
    yield endpoint
    endpoint.close()


def get(endpoint: Endpoint, path: str, method: str = "GET", **headers: str) -> Answer:
    """Return (status, content type, body)."""
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type", ""), response.read().decode()
    finally:
        connection.close()


def test_the_metrics_are_served_as_text(endpoint: Endpoint):
    """The format that every Prometheus reads."""
    status, content_type, body = get(endpoint, "/metrics")

    assert status == HTTPStatus.OK
    assert content_type.startswith("text/plain; version=")
    assert "things_total 3.0" in body.splitlines()


def test_a_scraper_that_asks_for_openmetrics_gets_it(endpoint: Endpoint):
    """By its Accept header."""
    status, content_type, body = get(
        endpoint, "/metrics", Accept="application/openmetrics-text; version=1.0.0"
    )

    assert status == HTTPStatus.OK
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith("# EOF\n")


def test_a_query_is_no_part_of_the_path(endpoint: Endpoint):
    """Probes may add one."""
    assert get(endpoint, "/healthz?verbose=1")[0] == HTTPStatus.OK


def test_a_check_follows_its_condition(endpoint: Endpoint, condition: Condition):
    """200 while it holds, 503 while it does not, and a word in the body."""
    good = get(endpoint, "/healthz")
    condition.holds = False
    bad = get(endpoint, "/healthz")

    assert good == (200, "text/plain; charset=utf-8", "live\n")
    assert bad == (503, "text/plain; charset=utf-8", "stuck\n")


@pytest.mark.parametrize("path", ["/status", "/metrics/", "/nothing", "/../etc/passwd"])
def test_an_unknown_page_says_which_there_are(endpoint: Endpoint, path: str):
    """And never what was asked."""
    assert get(endpoint, path) == (
        404,
        "text/plain; charset=utf-8",
        "try /metrics, /healthz, /\n",
    )


def test_only_reading_is_possible(endpoint: Endpoint):
    """Nothing can be posted."""
    assert get(endpoint, "/metrics", "POST")[0] == HTTPStatus.NOT_IMPLEMENTED


def test_a_client_that_says_nothing_holds_up_nobody(endpoint: Endpoint):
    """Every connection has a thread."""
    with socket.create_connection(("127.0.0.1", endpoint.port)):
        assert get(endpoint, "/healthz")[0] == HTTPStatus.OK


def test_a_port_that_is_taken_is_an_error():
    """The text names it."""
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        with pytest.raises(PortError) as error:
            Endpoint("127.0.0.1", port, {})

    assert re.fullmatch(
        f"cannot bind the metrics port 127.0.0.1:{port}: Address already in use; choose another",
        str(error.value),
    )


def test_closing_lets_the_port_go(condition: Condition):
    """Also when nobody ever started it."""
    first: Any = Endpoint("127.0.0.1", 0, {})
    first.close()
    second = Endpoint("127.0.0.1", first.port, {})
    second.start()
    second.close()
    third = Endpoint("127.0.0.1", first.port, {})
    third.close()

    assert first.port == second.port == third.port


def test_the_page_for_people_may_load_and_run_nothing(endpoint: Endpoint):
    """Its policy says so to the browser, and nothing keeps an old page."""
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=30)
    connection.request("GET", "/")
    response = connection.getresponse()
    body = response.read()
    connection.close()

    assert (response.status, body) == (HTTPStatus.OK, b"<!DOCTYPE html>")
    assert response.getheader("Content-Type") == "text/html; charset=utf-8"
    assert "default-src 'none'; style-src 'sha256-" in response.headers["Content-Security-Policy"]
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("host", ["::1", "::"])
def test_an_ipv6_address_is_bound(host):
    """As the other ports bind it: a pod may have no other address."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    endpoint = Endpoint(host, 0, {"/": html_page(lambda: "<!DOCTYPE html>")})
    endpoint.start()
    try:
        connection = http.client.HTTPConnection("::1", endpoint.port, timeout=5)
        connection.request("GET", "/")
        assert connection.getresponse().status == HTTPStatus.OK
        assert endpoint.address == f"[{host}]:{endpoint.port}"
        connection.close()
    finally:
        endpoint.close()
