"""The flags of `isotherm serve` about security: callers, what they get, files not trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HttpPort = Annotated[
    int | None,
    typer.Option(
        help="Port of REST (JSON), with the extra isotherm[rest]; 0 for any free one.",
        envvar="ISOTHERM_HTTP_PORT",
        show_default="off",
    ),
]
TlsCert = Annotated[
    Path | None,
    typer.Option(
        help="Certificate chain in PEM: serve with TLS. Renewed without a restart.",
        envvar="ISOTHERM_TLS_CERT",
    ),
]
TlsKey = Annotated[
    Path | None,
    typer.Option(help="The key of --tls-cert, in PEM.", envvar="ISOTHERM_TLS_KEY"),
]
TlsClientCa = Annotated[
    Path | None,
    typer.Option(
        help="CA in PEM: clients must show a certificate of it.", envvar="ISOTHERM_TLS_CLIENT_CA"
    ),
]
AuthTokenFile = Annotated[
    Path | None,
    typer.Option(
        help="One token a line: every call but a health check must bring one.",
        envvar="ISOTHERM_AUTH_TOKEN_FILE",
    ),
]
ControlTokenFile = Annotated[
    Path | None,
    typer.Option(
        help="One token a line: calls that change the server must bring one.",
        envvar="ISOTHERM_CONTROL_TOKEN_FILE",
    ),
]
MaxMessageBytes = Annotated[
    int,
    typer.Option(
        help="Size of one request; larger ones are refused. 0 is no limit.",
        envvar="ISOTHERM_MAX_MESSAGE_BYTES",
    ),
]
MaxConcurrentStreams = Annotated[
    int,
    typer.Option(
        help="Calls at once on one connection; more wait at the client. 0 is no limit.",
        envvar="ISOTHERM_MAX_CONCURRENT_STREAMS",
    ),
]
MaxConnections = Annotated[
    int,
    typer.Option(
        help="Connections at once to one worker. 0 is no limit.",
        envvar="ISOTHERM_MAX_CONNECTIONS",
    ),
]
MaxConnectionAge = Annotated[
    float,
    typer.Option(
        help="Seconds after which clients must connect anew; 0 never.",
        envvar="ISOTHERM_MAX_CONNECTION_AGE",
    ),
]
MaxConnectionIdle = Annotated[
    float,
    typer.Option(
        help="Seconds without a call after which a connection is closed; 0 never.",
        envvar="ISOTHERM_MAX_CONNECTION_IDLE",
    ),
]
KeepaliveTime = Annotated[
    float,
    typer.Option(
        help="Seconds of silence after which a client is asked whether it is there; 0 never.",
        envvar="ISOTHERM_KEEPALIVE_TIME",
    ),
]
KeepaliveTimeout = Annotated[
    float,
    typer.Option(help="Seconds that it then has to answer.", envvar="ISOTHERM_KEEPALIVE_TIMEOUT"),
]
VettingSeconds = Annotated[
    float,
    typer.Option(
        help="Seconds of processor time to load a model and run it on zeros.",
        envvar="ISOTHERM_VETTING_SECONDS",
    ),
]
VettingMemoryMib = Annotated[
    int,
    typer.Option(
        help="Memory that it may take for that, beside its files.",
        envvar="ISOTHERM_VETTING_MEMORY_MIB",
    ),
]
VettingDomain = Annotated[
    list[str] | None,
    typer.Option(
        help="Operator domain to allow beside ONNX's: com.microsoft. May be repeated.",
        envvar="ISOTHERM_VETTING_DOMAIN",
    ),
]
