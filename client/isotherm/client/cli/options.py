"""The options that several commands share."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import typer

DEFAULT_ADDRESS: Final = "127.0.0.1:8001"

Address: TypeAlias = Annotated[
    str, typer.Option("--address", metavar="HOST:PORT", help="The server's gRPC address.")
]
Timeout: TypeAlias = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", help="How long a call may take.")
]
ModelVersion: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--version", metavar="N", help="The model's version; the server's choice if none."
    ),
]
