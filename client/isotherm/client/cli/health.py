"""The command `isotherm health`: a probe for containers and people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from isotherm.client.cli.options import (
    DEFAULT_ADDRESS,
    Address,
    Timeout,
    TlsCa,
    TokenFile,
    UseTls,
    tls_of,
)

if TYPE_CHECKING:
    from isotherm.client._security import Tls

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
    local: Annotated[
        bool,
        typer.Option(
            "--local",
            help="Ask the server beside this command, by its metrics port: without TLS, without a"
            " token, wherever the variables of `isotherm serve` say it is.",
        ),
    ] = False,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="With --local.", envvar="ISOTHERM_HOST")
    ] = "127.0.0.1",
    metrics_port: Annotated[
        int, typer.Option(help="With --local.", envvar="ISOTHERM_METRICS_PORT")
    ] = 8002,
) -> None:
    """Ask whether a server or a model serves: exit with 0 when it is SERVING, else with 1.

    By grpc.health.v1, or where there is none by ServerReady or ModelReady; with --local by HTTP.
    """
    if not local:
        found = _by_grpc(model, address, service, timeout, tls_of(tls, tls_ca), token_file)
    elif model or service or tls or tls_ca or token_file or address != DEFAULT_ADDRESS:
        typer.echo("error: --local asks for the whole server's readiness, by HTTP", err=True)
        raise typer.Exit(2)
    else:
        found = _by_http(host, metrics_port, timeout)
    typer.echo(found)
    if found != "SERVING":
        raise typer.Exit(1)


def _by_grpc(
    model: str,
    address: str,
    service: str,
    timeout_s: float,
    tls: bool | Tls,
    token: Path | None,
) -> str:
    from isotherm.client.cli import health_service
    from isotherm.client.cli.failure import Failure, told_in_a_sentence

    with told_in_a_sentence():
        if model and service:
            msg = f"give a model ('{model}') or --service ('{service}'), not both"
            raise Failure(msg)
        return health_service.status(address, model, service, timeout_s, tls=tls, token=token)


def _by_http(host: str, port: int, timeout_s: float) -> str:
    # A container asks itself every few seconds: this way loads neither gRPC nor numpy.
    from isotherm.client.cli.ready_page import ready

    try:
        return "SERVING" if ready(host, port, timeout_s) else "NOT_SERVING"
    except ConnectionError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
