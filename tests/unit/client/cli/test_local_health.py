"""`isotherm health --local`: the metrics port of the server beside the command."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest


class _Page(HTTPServer):
    """A metrics port that says what it is told to."""

    status = 200
    asked: tuple[str, ...] = ()


class _Handler(BaseHTTPRequestHandler):
    server: _Page

    def do_GET(self) -> None:
        self.server.asked = (*self.server.asked, self.path)
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture(name="page")
def _page() -> Iterator[_Page]:
    with _Page(("127.0.0.1", 0), _Handler) as page:
        thread = threading.Thread(target=page.serve_forever, args=(0.01,))
        thread.start()
        yield page
        page.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "expected"), [(200, ("SERVING\n", 0)), (503, ("NOT_SERVING\n", 1))]
)
def test_the_page_decides(isotherm, page, status, expected):
    """By status, not by text."""
    page.status = status

    result = isotherm("health", "--local", "--metrics-port", page.server_port)

    assert (result.stdout, result.exit_code) == expected
    assert page.asked == ("/v2/health/ready",)


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "localhost"])  # noqa: S104
def test_it_is_found_by_the_variables_of_the_server(isotherm, page, monkeypatch, host):
    """Where it is to listen everywhere, loopback is a part of that."""
    monkeypatch.setenv("ISOTHERM_HOST", host)
    monkeypatch.setenv("ISOTHERM_METRICS_PORT", str(page.server_port))

    result = isotherm("health", "--local")

    assert (result.stdout, result.exit_code) == ("SERVING\n", 0)


def test_the_variables_do_not_touch_a_question_by_grpc(isotherm, server, monkeypatch):
    """They are there in every container of the image."""
    monkeypatch.setenv("ISOTHERM_METRICS_PORT", "1")

    result = isotherm("health", "--address", server.address)

    assert (result.stdout, result.exit_code) == ("SERVING\n", 0)


def test_nobody_at_the_port_is_a_failure(isotherm):
    """The sentence says where it looked."""
    result = isotherm("health", "--local", "--metrics-port", "1")

    assert result.exit_code == 1
    assert "no answer from http://127.0.0.1:1/v2/health/ready" in result.stderr


def test_a_server_that_hangs_is_a_failure(isotherm):
    """A probe ends in its time."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        result = isotherm("health", "--local", "--metrics-port", port, "--timeout", "0.2")

    assert result.exit_code == 1
    assert "timed out" in result.stderr


@pytest.mark.parametrize("more", [["line"], ["--service", "liveness"], ["--tls"]])
def test_it_takes_no_name_and_no_security(isotherm, more):
    """The page knows the server as a whole."""
    result = isotherm("health", "--local", *more)

    assert result.exit_code == 2
    assert "--local" in result.stderr


def test_it_loads_neither_grpc_nor_numpy(page):
    """A container asks itself every ten seconds."""
    program = (
        "import sys\n"
        "from isotherm.client.cli.dispatch import app\n"
        "try:\n"
        f"    app(['health', '--local', '--metrics-port', '{page.server_port}'])\n"
        "finally:\n"
        "    print(sorted({'grpc', 'numpy'} & set(sys.modules)))\n"
    )

    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    ).stdout

    assert printed == "SERVING\n[]\n"
