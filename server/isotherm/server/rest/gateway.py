"""The gateway: builds its parts, and leads them through their life.

connect to the workers -> SERVING -> (drain: not ready, serve on) -> finish all accepted -> exit.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import uvicorn

from isotherm.server.config import ServerConfig
from isotherm.server.rest.app import App
from isotherm.server.rest.connection import Connection
from isotherm.server.rest.listener import hush
from isotherm.server.rest.operations import Operations
from isotherm.server.rest.tls import server_context
from isotherm.server.rest.workers import Workers

# Of one body, where no limit is given; Triton's is the same.
DEFAULT_MAX_BYTES: Final = 64 << 20
_KEEP_ALIVE_S: Final = 65
# For connections and requests that are on their way when the port is closed.
_LAST_REQUESTS_S: Final = 0.25


class Gateway:
    """An HTTP server on a socket that the supervisor listens on."""

    def __init__(
        self, config: ServerConfig, listener: socket.socket, workers: Sequence[str]
    ) -> None:
        """Read the certificate, if any; raise StartError when it cannot serve."""
        self._config = config
        self._listener = listener
        self._paths = workers
        self._context = server_context(config.security)
        self._draining = threading.Event()
        self._wake: Callable[[], None] = lambda: None

    def drain_soon(self) -> None:
        """Begin to stop; may be called from any thread, from signal handlers, and again."""
        self._draining.set()
        self._wake()

    async def serve(self, started: Callable[[], object]) -> None:
        """Serve until drained; every accepted request is answered when this returns."""
        limits, security = self._config.limits, self._config.security
        workers = Workers(self._paths, limits.max_message_bytes)
        guarded = security.auth_token_file is not None or security.control_token_file is not None
        max_bytes = limits.max_message_bytes or DEFAULT_MAX_BYTES
        operations = Operations(workers, lambda: not self._draining.is_set(), guarded=guarded)
        app = App(operations, max_bytes)
        server = _Server(self._uvicorn_config(app), started)
        draining = asyncio.create_task(self._until_drained(app, server))
        try:
            await server.serve([self._listener])
        finally:
            draining.cancel()
            await workers.close()

    async def _until_drained(self, app: App, server: uvicorn.Server) -> None:
        loop, drained = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(drained.set)

        self._wake = wake
        # Told before there was a loop to wake.
        if not self._draining.is_set():
            await drained.wait()
        app.closing = True
        await asyncio.sleep(self._config.drain_delay_s)
        hush(self._listener)
        await asyncio.sleep(_LAST_REQUESTS_S)
        server.should_exit = True

    def _uvicorn_config(self, app: App) -> uvicorn.Config:
        # Its warnings are what strangers send; what is wrong here is logged by the application.
        logging.getLogger("uvicorn").setLevel(logging.ERROR)
        most = self._config.limits.max_connections
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            # It counts the connection that it decides about.
            limit_concurrency=most + 1 if most else None,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=math.ceil(self._config.grace_s),
        )
        config.load()
        config.ssl = self._context
        return config


class _Server(uvicorn.Server):
    """uvicorn's, but signals are the gateway's own to handle."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], object]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, and say so."""
        await super().startup(sockets)
        self._on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield
