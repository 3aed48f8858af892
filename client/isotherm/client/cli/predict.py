"""The command `isotherm predict`: values or a CSV file in, predictions out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from isotherm.client._sync import Client
from isotherm.client.cli import answer, model, rows
from isotherm.client.cli.failure import Failure, told_in_a_sentence
from isotherm.client.cli.options import (
    DEFAULT_ADDRESS,
    Address,
    ModelVersion,
    Timeout,
    TlsCa,
    TokenFile,
    UseTls,
    tls_of,
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


class Format(StrEnum):
    """How the answer is written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


# A value such as -12.5 must not be taken for an option.
@app.command(context_settings={"ignore_unknown_options": True})
def predict(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")],
    values: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="VALUE",
            help="Rows of a model with one feature, else one row of all its features.",
        ),
    ] = None,
    address: Address = DEFAULT_ADDRESS,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="FILE", help="A CSV file with the rows.")
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="How to write it.")] = Format.TABLE,
    version: ModelVersion = None,
    timeout: Timeout = 10.0,
    tls: UseTls = False,
    tls_ca: TlsCa = None,
    token_file: TokenFile = None,
) -> None:
    """Ask a served model for predictions."""
    with (
        told_in_a_sentence(),
        Client(address, tls=tls_of(tls, tls_ca), token=token_file, timeout=timeout) as client,
    ):
        if bool(values) == (data is not None):
            msg = f"give the rows for '{name}' as values or as --data FILE, one of the two"
            raise Failure(msg)
        served = model.ask(client, name, version)
        asked = rows.from_csv(served, data) if data else rows.from_values(served, values or [])
        prediction = client.predict(name, asked, version=version)
        _write(answer.series(served, asked, prediction), output)
        for note in rows.outside_training(served, asked):
            typer.echo(f"note: {note}", err=True)


def _write(columns: list[answer.Series], output: Format) -> None:
    if output is Format.TABLE:
        # Units stand in brackets, which rich would take for markup.
        Console(markup=False, highlight=False).print(answer.as_table(columns))
    else:
        text = answer.as_csv(columns) if output is Format.CSV else answer.as_json(columns)
        typer.echo(text, nl=False)
