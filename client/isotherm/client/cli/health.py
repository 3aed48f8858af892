"""The command `isotherm health`: a probe for containers and people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import grpc
import typer

from isotherm.client._channel import check_target, connect, secure
from isotherm.client._errors import IsothermError, UnsupportedError, from_status
from isotherm.client._security import Bearer, Tls, credentials
from isotherm.client._sync import Client
from isotherm.client._wire import bytes_head
from isotherm.client.cli.failure import Failure, told_in_a_sentence
from isotherm.client.cli.options import (
    DEFAULT_ADDRESS,
    Address,
    Timeout,
    TlsCa,
    TokenFile,
    UseTls,
    tls_of,
)

_PATH: Final = "/grpc.health.v1.Health/Check"
_SERVING: Final = "SERVING"
_NOT_SERVING: Final = "NOT_SERVING"
_STATUSES: Final = ("UNKNOWN", _SERVING, _NOT_SERVING, "SERVICE_UNKNOWN")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def health(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="The model to ask about; else the server.")
    ] = "",
    address: Address = DEFAULT_ADDRESS,
    service: Annotated[
        str,
        typer.Option("--service", metavar="NAME", help="The health service itself, as `liveness`."),
    ] = "",
    timeout: Timeout = 2.0,
    tls: UseTls = False,
    tls_ca: TlsCa = None,
    token_file: TokenFile = None,
) -> None:
    """Ask whether a server or a model serves: exit with 0 when it is SERVING, else with 1.

    By grpc.health.v1; where the server has none, by ServerReady or ModelReady.
    """
    with told_in_a_sentence():
        if model and service:
            msg = f"give a model ('{model}') or --service ('{service}'), not both"
            raise Failure(msg)
        secured = tls_of(tls, tls_ca)
        try:
            status = check(address, model or service, timeout, tls=secured, token=token_file)
        except UnsupportedError:
            if service:
                raise
            status = ""
        # Triton answers for the server, whatever model is asked about.
        if not status or (model and status == _SERVING):
            with Client(address, tls=secured, token=token_file, timeout=timeout) as client:
                status = _SERVING if client.health(model or None) else _NOT_SERVING
        typer.echo(status)
        if status != _SERVING:
            raise typer.Exit(1)


def check(
    address: str,
    service: str,
    timeout_s: float,
    *,
    tls: bool | Tls = False,
    token: Path | None = None,
) -> str:
    """Return the server's health status for `service`; the empty name is the whole server."""
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
