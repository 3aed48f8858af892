"""The metrics port over HTTP: /metrics, /healthz, /v2/health/ready, and at / a page for people."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from isotherm.server import metrics
from isotherm.server.config import ServerConfig
from isotherm.server.counters import Block
from isotherm.server.drift.collector import DriftCollector
from isotherm.server.drift.watch import Watch
from isotherm.server.errors import PortError
from isotherm.server.gpu_metrics import find_gpus
from isotherm.server.port import shown
from isotherm.server.status_page import page as status_page
from isotherm.server.status_page.history import History

_log = logging.getLogger(__name__)

# How long `close` may wait for the thread to notice.
_POLL_S: Final = 0.1
_TEXT: Final = "text/plain; charset=utf-8"

# (status, content type, body), given the Accept header.
Page = Callable[[str], tuple[HTTPStatus, str, bytes]]


def metrics_page(registry: CollectorRegistry) -> Page:
    """Return the page with all metrics, in the format that the scraper asks for."""

    def page(accept: str) -> tuple[HTTPStatus, str, bytes]:
        encode, content_type = choose_encoder(accept)
        return HTTPStatus.OK, content_type, encode(registry)

    return page


def check_page(holds: Callable[[], bool], good: str, bad: str) -> Page:
    """Return a page that is 200 while a condition holds and 503 otherwise."""

    def page(_accept: str) -> tuple[HTTPStatus, str, bytes]:
        if holds():
            return HTTPStatus.OK, _TEXT, good.encode() + b"\n"
        return HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, bad.encode() + b"\n"

    return page


def html_page(html: Callable[[], str]) -> Page:
    """Return the page for people."""

    def page(_accept: str) -> tuple[HTTPStatus, str, bytes]:
        return HTTPStatus.OK, status_page.CONTENT_TYPE, html().encode()

    return page


class Task(Protocol):
    """What gathers in the background what pages show."""

    def start(self) -> None:
        """Begin."""

    def close(self) -> None:
        """End."""


class Endpoint:
    """An HTTP server on a thread of its own."""

    def __init__(
        self, host: str, port: int, pages: Mapping[str, Page], tasks: Sequence[Task] = ()
    ) -> None:
        """Bind; raise PortError when the port cannot be had.

        `tasks` go on as long as the pages are served.
        """
        try:
            self._server = _Server(host, port, _handler(pages))
        except OSError as error:
            msg = f"cannot bind the metrics port {host}:{port}: {error.strerror}; choose another"
            raise PortError(msg) from error
        self.port: int = self._server.server_address[1]
        self.address = shown(self._server.address_family, self._server.server_address)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="metrics", daemon=True
        )
        self._tasks = tasks

    def start(self) -> None:
        """Begin to answer."""
        for task in self._tasks:
            task.start()
        self._thread.start()

    def close(self) -> None:
        """Stop answering and let the port go."""
        for task in self._tasks:
            task.close()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def open_endpoint(
    config: ServerConfig,
    blocks: Sequence[Block],
    restarts: Callable[[], Sequence[int]],
    watch: Watch,
) -> Endpoint:
    """Bind the metrics port for workers that count into `blocks` and are watched for drift."""
    registry = CollectorRegistry()
    registry.register(metrics.ServerCollector(blocks, restarts, config.feedback_window_s))
    registry.register(DriftCollector(watch))
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    ready = check_page(lambda: metrics.ready(blocks), "ready", "not ready")
    history = History(blocks)
    gpus = find_gpus() if config.provider != "cpu" else None
    if gpus is not None:
        registry.register(gpus)
    pages = {
        "/": html_page(status_page.StatusPage(blocks, history, registry.collect).html),
        "/metrics": metrics_page(registry),
        "/healthz": check_page(lambda: metrics.live(blocks), "live", "stuck"),
        "/v2/health/ready": ready,
    }
    tasks = (history,) if gpus is None else (history, gpus)
    return Endpoint(config.host, config.metrics_port, pages, tasks)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        # The base class knows IPv4 alone, unless told.
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = found[0][0]
        super().__init__((host, port), handler)


def _handler(pages: Mapping[str, Page]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        # A client that sends nothing must not hold a thread for ever.
        timeout = 10

        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            if page is None:
                known = ", ".join(pages)
                self._answer(HTTPStatus.NOT_FOUND, _TEXT, f"try {known}\n".encode())
            else:
                self._answer(*page(self.headers.get("Accept", "")))

        def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Content-Type-Options", "nosniff")
            if content_type == status_page.CONTENT_TYPE:
                self.send_header("Content-Security-Policy", status_page.POLICY)
                self.send_header("Referrer-Policy", "no-referrer")
                self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            _log.debug(format, *args)

    return Handler
