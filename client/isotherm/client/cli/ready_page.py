"""The page of a server's metrics port that says whether it is ready."""

from __future__ import annotations

from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Final

_PATH: Final = "/v2/health/ready"
# What a server is told to bind to when it is to listen everywhere.
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def ready(host: str, port: int, timeout_s: float) -> bool:
    """Ask the server that was told to bind to `host`; raise ConnectionError where none answers."""
    reached = _EVERYWHERE.get(host, host)
    connection = HTTPConnection(reached, port, timeout=timeout_s)
    try:
        connection.request("GET", _PATH)
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException) as error:
        shown = f"[{reached}]" if ":" in reached else reached
        msg = f"no answer from http://{shown}:{port}{_PATH}: {error}"
        raise ConnectionError(msg) from error
    finally:
        connection.close()
