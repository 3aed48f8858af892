"""One run of `isotherm predict`: batches from a reader, through the server, to a writer."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Final

import typer
from rich.console import Console

from isotherm.client._sync import Client
from isotherm.client.cli import answer, going_on, model, progress
from isotherm.client.cli.ahead import Ahead
from isotherm.client.cli.asking import Asking
from isotherm.client.cli.model import Model
from isotherm.client.cli.readers import reader_of
from isotherm.client.cli.request import Request
from isotherm.client.cli.resume import Begun, begun, checked
from isotherm.client.cli.rows import Batch, Ranges, from_values
from isotherm.client.cli.stopping import stopping
from isotherm.client.cli.writers import Format, writer_of
from isotherm.client.cli.writers.table import TABLE_ROWS
from isotherm.client.cli.writers.writer import Writer

# As shells tell of a program that wrote to a pipe which nobody reads any more.
_PIPE_CLOSED: Final = 128 + signal.SIGPIPE


def run(client: Client, request: Request, context: typer.Context) -> None:
    """Write the answers to what was asked for.

    Whatever ends it early, the output holds whole rows, and the error has a note that says how many
    and how to go on.

    Args:
        client: Calls the server.
        request: What is asked for, its flags checked.
        context: The command line, which the note repeats.
    """
    served = model.ask(client, request.name, request.version)
    there = begun(request.target, request.form) if request.target and request.resume else None
    rows = min(request.batch_rows, model.most_rows(client, served, request.version))
    batches, size = _batches(served, request, there, rows)
    ranges = Ranges(served)
    with stopping() as stop:
        writer = _writer(request, there)
        with _told_how_to_go_on(writer, request, context), _closed_at_the_end(writer):
            asking = Asking(client, served, request.version)
            answers = Ahead(asking.answers(batches), client.close)
            with closing(answers), _bar(request, size) as bar:
                for batch, prediction in answers:
                    columns = answer.series(served, batch, prediction, features=request.features)
                    if there is not None:
                        there.check_columns(columns)
                    with stop.held():
                        writer.write(columns)
                    ranges.add(batch)
                    bar.advance(batch)
            writer.finish()
    for note in ranges.notes():
        typer.echo(f"note: {note}", err=True)


def _batches(
    served: Model, request: Request, there: Begun | None, size: int
) -> tuple[Iterator[Batch], int | None]:
    """Return the rows that are left, in batches of a size, and how much there is to read."""
    if request.values:
        return iter([from_values(served, request.values)]), None
    reader = reader_of(served, request.source, request.input_format)
    if request.form is Format.TABLE:
        # One more than a table has tells whether it is cut.
        return _first(reader.batches(size, skip=request.offset), TABLE_ROWS + 1), None
    if there is None or not there.rows:
        return reader.batches(size, skip=request.offset), reader.size
    # The batches end where those of an uninterrupted run do: how rows are put together shows in the
    # last digit of some models' answers.
    first = size - there.rows % size
    skip = request.offset + there.rows
    if not request.features:
        return reader.batches(size, skip=skip, first=first), reader.size
    return checked(reader.batches(size, skip=skip - 1, first=first + 1), served, there), reader.size


def _first(batches: Iterator[Batch], rows: int) -> Iterator[Batch]:
    for batch in batches:
        yield batch.part(0, rows)
        rows -= len(batch)
        if rows <= 0:
            return


def _writer(request: Request, there: Begun | None) -> Writer:
    rows, end = (there.rows, there.end) if there is not None else (0, 0)
    return writer_of(request.form, request.target, rows=rows, keep=end)


def _bar(request: Request, size: int | None) -> AbstractContextManager[progress.Bar]:
    console = Console(stderr=True)
    # A bar and rows on the same screen would write over each other.
    wanted = request.source is not None and (request.target is not None or not sys.stdout.isatty())
    return progress.shown(size, console, wanted=wanted)


@contextmanager
def _closed_at_the_end(writer: Writer) -> Iterator[None]:
    try:
        yield
    finally:
        writer.close()


@contextmanager
def _told_how_to_go_on(writer: Writer, request: Request, context: typer.Context) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        if request.target is not None:
            raise
        # Whoever read had enough. What is still in buffers has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(_PIPE_CLOSED) from None
    except BaseException as error:
        if request.data is not None and writer.rows:
            error.add_note(_how_to_go_on(writer.rows, request, context))
        raise


def _how_to_go_on(rows: int, request: Request, context: typer.Context) -> str:
    if request.target is not None and request.form is not Format.JSON:
        state = f"{request.target} has {rows} whole {_noun(rows)}; go on with:"
        line = going_on.command(context, without={"resume", "overwrite"}, extra=["--resume"])
    else:
        state = f"{rows} {_noun(rows)} written; go on with:"
        # A JSON array is closed: the rest needs a file of its own.
        other = [] if request.target is None else ["--output", "FILE"]
        extra = ["--offset", str(request.offset + rows), *other]
        line = going_on.command(context, without={"offset", "output", "overwrite"}, extra=extra)
    return f"{state}\n  {line}"


def _noun(rows: int) -> str:
    return "row" if rows == 1 else "rows"
