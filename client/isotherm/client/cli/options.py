"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

# A container's health check needs these options, and neither gRPC nor the time to load it.
if TYPE_CHECKING:
    from isotherm.client._security import Tls

DEFAULT_ADDRESS: Final = "127.0.0.1:8001"

Address: TypeAlias = Annotated[
    str, typer.Option("--address", metavar="HOST:PORT", help="The server's gRPC address.")
]
Timeout: TypeAlias = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", help="How long a call may take.")
]
UseTls: TypeAlias = Annotated[
    bool, typer.Option("--tls", help="Speak TLS, with the authorities that gRPC knows.")
]
TlsCa: TypeAlias = Annotated[
    Path | None,
    typer.Option("--tls-ca", metavar="FILE", help="Speak TLS, with this authority (PEM)."),
]
TokenFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--token-file", metavar="FILE", help="The token that the server asks for."),
]
ModelVersion: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--version", metavar="N", help="The model's version; the server's choice if none."
    ),
]


def tls_of(use: bool, ca: Path | None) -> bool | Tls:
    """Return what a client is told about TLS."""
    from isotherm.client._security import Tls

    return Tls(ca=ca) if ca is not None else use
