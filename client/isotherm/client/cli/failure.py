"""A command's failure: one sentence on stderr and exit status 1, never a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from isotherm.client._errors import IsothermError


class Failure(Exception):  # noqa: N818  it names what happened to the command
    """What went wrong, in one sentence for the user."""


@contextmanager
def told_in_a_sentence() -> Iterator[None]:
    """Turn the failures that a user can meet into a sentence and exit status 1."""
    try:
        yield
    except (Failure, IsothermError, OSError) as error:
        typer.echo(f"error: {_sentence(error)}", err=True)
        raise typer.Exit(1) from error


def _sentence(error: Exception) -> str:
    # `[Errno 2] No such file or directory: 'x.csv'` is for programmers. TimeoutErrors are OSErrors.
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)
