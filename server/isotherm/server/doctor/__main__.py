"""`isotherm doctor`: flags in, a report out, and an exit status."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


class Asked(StrEnum):
    """Where models are to run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


@app.command()
def doctor(
    provider: Annotated[
        Asked,
        typer.Option(
            help="What must work: cpu, cuda, or auto: cuda where this process sees a device.",
            envvar="ISOTHERM_PROVIDER",
        ),
    ] = Asked.auto,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
    timeout: Annotated[
        float, typer.Option(min=1.0, help="Seconds that the trial of the providers may take.")
    ] = 60.0,
) -> None:
    """Show what models can run on here, and what mends the rest.

    A small model is run by every provider on every device. Exit status 0 when what was asked for
    works, 1 when it does not.
    """
    from isotherm.server.doctor.examination import examine

    examination = examine(provider.value, timeout)
    if as_json:
        typer.echo(json.dumps(examination.facts, indent=2))
    else:
        from rich.console import Console

        from isotherm.server.doctor.report import show

        show(examination, Console(markup=False, highlight=False))
    if not examination.works:
        raise typer.Exit(1)


if __name__ == "__main__":
    app(prog_name="isotherm doctor")
