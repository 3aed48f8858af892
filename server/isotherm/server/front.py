"""REST under the supervisor: the HTTP port, the gateway process behind it, the way to the workers.

The supervisor listens, and lends the gateway its socket: while a gateway is started again, callers
wait in the kernel's queue instead of being refused.
"""

from __future__ import annotations

import importlib.util
import selectors
import shutil
import tempfile

from isotherm.server import control, logs
from isotherm.server.config import ServerConfig
from isotherm.server.errors import ConfigError
from isotherm.server.port import open_port
from isotherm.server.slot import Slot


class Front(Slot):
    """The gateway's place, with what it needs to be started again."""

    def __init__(self, config: ServerConfig, host: str, port: int) -> None:
        """Listen; raise ConfigError without the extra, PortError when the port cannot be had."""
        super().__init__("gateway", "isotherm.server.rest")
        if importlib.util.find_spec("uvicorn") is None:
            msg = "--http-port needs an HTTP server: pip install 'isotherm[rest]'"
            raise ConfigError(msg)
        self._config = config
        self._listener, self.address = open_port(host, port)
        # Only this user may enter: what listens inside asks for tokens, but not for certificates.
        self._folder = tempfile.mkdtemp(prefix="isotherm-")

    @property
    def url(self) -> str:
        """Where REST is served."""
        scheme = "http" if self._config.security.tls_cert is None else "https"
        return f"{scheme}://{self.address}/v2"

    def private(self, worker: int) -> str:
        """Return where a worker listens for the gateway."""
        return f"{self._folder}/{worker}"

    def start(self, selector: selectors.BaseSelector) -> None:
        """Start the gateway."""
        fd = self._listener.fileno()
        self.launch(
            selector,
            [fd],
            config=self._config.to_json(),
            log_level=logs.level(),
            listener=fd,
            workers=[self.private(number) for number in range(self._config.workers)],
        )

    def log(self, level: str) -> None:
        """Have the gateway log from a level up, as all others do now."""
        if self.running:
            self.line.send(control.LOG, level=level)

    def drain(self, *, hold: bool = False) -> None:
        """Stop listening here, so that nobody queues for a gateway that is gone."""
        super().drain(hold=hold)
        self._listener.close()

    def close(self) -> None:
        """Let go of the port and of the workers' sockets."""
        self._listener.close()
        shutil.rmtree(self._folder, ignore_errors=True)
