"""The command `isotherm predict`: values or a file of rows in, predictions out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isotherm.client._sync import Client
from isotherm.client.cli.failure import LATER, told_in_a_sentence
from isotherm.client.cli.going_on import given
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
from isotherm.client.cli.readers import InputFormat
from isotherm.client.cli.request import Request
from isotherm.client.cli.run import run
from isotherm.client.cli.writers import Format

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


# A value such as -12.5 must not be taken for an option.
@app.command(context_settings={"ignore_unknown_options": True})
def predict(
    context: typer.Context,
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
        Path | None,
        typer.Option(
            "--data",
            metavar="FILE",
            help="The rows: .jsonl or .ndjson, .parquet, else CSV; - is standard input.",
        ),
    ] = None,
    input_format: Annotated[
        InputFormat | None,
        typer.Option("--input-format", help="How the rows are written, whatever the suffix says."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Where to write, instead of on the screen."),
    ] = None,
    form: Annotated[
        Format,
        typer.Option("--format", help="How to write it; the suffix of --output says it, too."),
    ] = Format.TABLE,
    only_outputs: Annotated[
        bool, typer.Option("--only-outputs", help="Leave the features out.")
    ] = False,
    batch_rows: Annotated[
        int, typer.Option("--batch-rows", metavar="N", min=1, help="Rows a call at the most.")
    ] = 4096,
    offset: Annotated[
        int, typer.Option("--offset", metavar="N", min=0, help="Leave out the first rows.")
    ] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on behind the rows that --output has.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin --output anew, whatever it has.")
    ] = False,
    version: ModelVersion = None,
    timeout: Timeout = 10.0,
    tls: UseTls = False,
    tls_ca: TlsCa = None,
    token_file: TokenFile = None,
) -> None:
    """Ask a served model for predictions.

    Exit status: 0 done, 1 failed, 2 flags that do not fit, 3 nobody answered in time (try again),
    130 interrupted.
    """
    with told_in_a_sentence(later=LATER):
        request = Request(
            name=name,
            version=version,
            values=values or (),
            data=data,
            input_format=input_format,
            output=output,
            format=form if given(context, "form") else None,
            features=not only_outputs,
            batch_rows=batch_rows,
            offset=offset,
            resume=resume,
            overwrite=overwrite,
        )
        request.check()
        with Client(address, tls=tls_of(tls, tls_ca), token=token_file, timeout=timeout) as client:
            run(client, request, context)
