"""The command `isotherm feedback`: a CSV file of predictions with their truths to a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isotherm.client._errors import NoContractError
from isotherm.client._sync import Client
from isotherm.client.cli import report_file
from isotherm.client.cli.failure import told_in_a_sentence
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


@app.command()
def feedback(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")],
    data: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A CSV file with the columns prediction and truth, or TARGET and "
            "TARGET_predicted; rows without a truth are left out.",
        ),
    ],
    address: Address = DEFAULT_ADDRESS,
    version: ModelVersion = None,
    timeout: Timeout = 10.0,
    tls: UseTls = False,
    tls_ca: TlsCa = None,
    token_file: TokenFile = None,
) -> None:
    """Report what predictions should have been: the server's metrics show the errors."""
    with (
        told_in_a_sentence(),
        Client(address, tls=tls_of(tls, tls_ca), token=token_file, timeout=timeout) as client,
    ):
        report = report_file.read(data, _targets(client, name, version))
        counted_for = client.feedback(
            name,
            report.prediction,
            report.truth,
            version=version,
            lower=report.lower,
            upper=report.upper,
            predicted_at=report.predicted_at,
        )
        rows = len(report.truth)
        typer.echo(f"{rows} {_rows(rows)} counted for {name} version {counted_for}")
        if report.left_out:
            left_out = f"{report.left_out} {_rows(report.left_out)}"
            typer.echo(f"note: {left_out} without a truth left out", err=True)


def _targets(client: Client, name: str, version: int | None) -> list[str]:
    try:
        return [target.name for target in client.contract(name, version).targets]
    except NoContractError:
        return []


def _rows(count: int) -> str:
    return "row" if count == 1 else "rows"
