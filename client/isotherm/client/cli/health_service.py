"""Asking a server for its health by gRPC."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import grpc

from isotherm.client._channel import check_target, connect, secure
from isotherm.client._errors import IsothermError, UnsupportedError, from_status
from isotherm.client._security import Bearer, Tls, credentials
from isotherm.client._sync import Client
from isotherm.client._wire import bytes_head
from isotherm.client.cli.failure import Failure

SERVING: Final = "SERVING"
NOT_SERVING: Final = "NOT_SERVING"

_PATH: Final = "/grpc.health.v1.Health/Check"
_STATUSES: Final = ("UNKNOWN", SERVING, NOT_SERVING, "SERVICE_UNKNOWN")


def status(
    address: str,
    model: str,
    service: str,
    timeout_s: float,
    *,
    tls: bool | Tls = False,
    token: Path | None = None,
) -> str:
    """Return the status of a model, a health service, or with neither of the whole server.

    By grpc.health.v1; where the server has none, by ServerReady or ModelReady.
    """
    try:
        found = _check(address, model or service, timeout_s, tls=tls, token=token)
    except UnsupportedError:
        if service:
            raise
        found = ""
    # Triton answers for the server, whatever model is asked about.
    if not found or (model and found == SERVING):
        with Client(address, tls=tls, token=token, timeout=timeout_s) as client:
            found = SERVING if client.health(model or None) else NOT_SERVING
    return found


def _check(
    address: str, service: str, timeout_s: float, *, tls: bool | Tls, token: Path | None
) -> str:
    metadata = Bearer(token).metadata()
    with connect(check_target(address), [], credentials(secure(tls))) as channel:
        call = channel.unary_unary(_PATH, _request, _status)
        try:
            return call(service, timeout=timeout_s, metadata=metadata)
        except grpc.RpcError as exc:
            raise _unanswered(exc, address, service) from exc


def _unanswered(cause: grpc.RpcError, address: str, service: str) -> IsothermError | Failure:
    if cause.code() is grpc.StatusCode.NOT_FOUND:
        return Failure(f"the server at {address} knows no health service '{service}'")
    return from_status(cause, target=address)


# Two messages of one field each are written by hand, so that a probe needs no further package:
# HealthCheckRequest {string service = 1}, HealthCheckResponse {ServingStatus status = 1}.
def _request(service: str) -> bytes:
    name = service.encode()
    return bytes_head(1, len(name)) + name if name else b""


def _status(answer: bytes) -> str:
    # Proto3 leaves the zero value out: an empty answer is UNKNOWN.
    number = answer[1] if answer[:1] == b"\x08" and len(answer) > 1 else 0
    return _STATUSES[number] if number < len(_STATUSES) else "UNKNOWN"
