"""The command `isotherm bench`: what a server can do, by a load that waits for nobody."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from isotherm.client._sync import Client
from isotherm.client.cli.bench import plot, report, requests, session
from isotherm.client.cli.bench.arrivals import Arrivals
from isotherm.client.cli.bench.crew import Crew
from isotherm.client.cli.bench.figures import Figures, Limits
from isotherm.client.cli.bench.load import SETUP_S, Period, Target
from isotherm.client.cli.bench.plan import Arrival, Plan, plan
from isotherm.client.cli.bench.report import Report, Setting
from isotherm.client.cli.bench.requests import Requests
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
from isotherm.client.cli.processes import sigterm_unwinds

INTERRUPTED: Final = 130
# More are for whoever asks for them: on a large machine half of it is a lot of load.
_MOST_PROCESSES: Final = 8

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


class Format(StrEnum):
    """How the report is written."""

    TABLE = "table"
    JSON = "json"


@app.command()
def bench(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")],
    address: Address = DEFAULT_ADDRESS,
    rate: Annotated[
        list[str] | None,
        typer.Option("--rate", metavar="R[,R...]", help="Open loop: requests a second, each load."),
    ] = None,
    concurrency: Annotated[
        list[str] | None,
        typer.Option(
            "--concurrency", metavar="C[,C...]", help="Closed loop: calls in flight; 16 if no rate."
        ),
    ] = None,
    ramp: Annotated[
        bool, typer.Option("--ramp", help="Search the highest rate within the limits.")
    ] = False,
    p99_limit_ms: Annotated[
        float, typer.Option("--p99-limit-ms", metavar="MS", help="The ramp's limit of p99.")
    ] = 10.0,
    error_limit: Annotated[
        float, typer.Option("--error-limit", metavar="SHARE", help="The ramp's share of errors.")
    ] = 0.001,
    arrivals: Annotated[
        Arrivals, typer.Option("--arrivals", help="How an open loop's requests are spread.")
    ] = Arrivals.CONSTANT,
    duration: Annotated[
        float, typer.Option("--duration", metavar="SECONDS", help="How long to measure each load.")
    ] = 10.0,
    warmup: Annotated[
        float, typer.Option("--warmup", metavar="SECONDS", help="How long to load unmeasured.")
    ] = 2.0,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=1, help="Rows a request.")] = 1,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="FILE", help="A CSV file with the rows.")
    ] = None,
    processes: Annotated[
        int,
        typer.Option(
            "--processes", metavar="N", min=0, help="Generators; 0 is half as many as CPUs."
        ),
    ] = 0,
    connections: Annotated[
        int, typer.Option("--connections", metavar="N", min=1, help="Connections of each process.")
    ] = 4,
    seed: Annotated[int, typer.Option("--seed", help="Of drawn rows and Poisson arrivals.")] = 0,
    output: Annotated[Format, typer.Option("--format", help="How to write it.")] = Format.TABLE,
    picture: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Latency against load, .png or .svg."),
    ] = None,
    version: ModelVersion = None,
    timeout: Timeout = 5.0,
    tls: UseTls = False,
    tls_ca: TlsCa = None,
    token_file: TokenFile = None,
) -> None:
    """Load a server and measure it: rates, latency percentiles, errors.

    Works with any server of the Open Inference Protocol. Exit status 1 when there is no answer.
    """
    with told_in_a_sentence(), sigterm_unwinds():
        if picture is not None:
            plot.check(picture)
        planned = plan(
            period=Period(duration_s=duration, warmup_s=warmup),
            timeout_s=timeout,
            arrival=Arrival(arrivals=arrivals, seed=seed),
            rates=rate or (),
            concurrencies=concurrency or (),
            ramp=Limits(p99_us=p99_limit_ms * 1000, error_share=error_limit) if ramp else None,
        )
        security = tls_of(tls, tls_ca)
        with Client(
            address, tls=security, token=token_file, timeout=max(timeout, SETUP_S)
        ) as client:
            made = _requests(client, name, version, rows=rows, data=data, seed=seed)
        target = Target(
            address=address,
            bodies=made.bodies,
            connections=connections,
            timeout_s=timeout,
            tls=security,
            token=token_file,
        )
        count = processes or _default_processes()
        done = Report(_setting(name, version, made, target, planned.period, count))
        _measure(target, count, planned, done)
        _write(done, output)
        if picture is not None:
            plot.draw(picture, report.heading(done.setting), done.loads, done.limits)
        _leave(done)


def _requests(
    client: Client, name: str, version: int | None, *, rows: int, data: Path | None, seed: int
) -> Requests:
    subject = requests.ask(client, name, version)
    if data is None:
        made = requests.drawn(subject, rows, seed)
    else:
        made = requests.read(client, subject, rows, data)
    requests.check(client, subject, made)
    return made


def _setting(
    name: str, version: int | None, made: Requests, target: Target, period: Period, processes: int
) -> Setting:
    return Setting(
        address=target.address,
        model=name,
        model_version="" if version is None else str(version),
        rows_per_request=made.rows,
        request_bytes=len(made.bodies[0]),
        input=made.origin,
        processes=processes,
        connections=target.connections,
        duration_s=period.duration_s,
        warmup_s=period.warmup_s,
        timeout_s=target.timeout_s,
    )


def _measure(target: Target, processes: int, planned: Plan, done: Report) -> None:
    several = planned.limits is not None or len(planned.loads) > 1

    def tell(measured: Figures) -> None:
        if several:
            # On stderr, so that stdout stays the report.
            typer.echo(report.step(measured, planned.limits), err=True)

    with Crew(target, processes) as crew:
        session.run(crew, planned, done, tell)


def _write(done: Report, output: Format) -> None:
    if output is Format.JSON:
        typer.echo(report.as_json(done), nl=False)
        return
    console = Console(markup=False, highlight=False)
    console.print(report.title(done.setting))
    console.print(report.as_table(done.loads))
    for note in report.notes(done):
        console.print(note)


def _leave(done: Report) -> None:
    if done.interrupted:
        raise typer.Exit(INTERRUPTED)
    if not any(each.answered for each in done.loads):
        msg = f"no request to {done.setting.address} was answered"
        raise Failure(msg)


def _default_processes() -> int:
    # As a rule the server is on the same machine, and needs the other half of it.
    return min(_MOST_PROCESSES, max(1, len(os.sched_getaffinity(0)) // 2))
