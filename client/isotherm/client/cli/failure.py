"""A command's failure: one sentence on stderr and an exit status, never a traceback.

1 is a failure, 2 a command line that cannot be meant. A command that may be repeated as it is tells
by 3 that it may be worth it: nobody answered, not in time, or the server had too much to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import typer

from isotherm.client._errors import (
    CallCancelledError,
    DeadlineExceededError,
    IsothermError,
    TransientError,
)

FAILED: Final = 1
MISUSED: Final = 2
LATER: Final = 3
# As shells tell of a program that a signal has ended.
INTERRUPTED: Final = 130

_LATER: Final = (CallCancelledError, DeadlineExceededError, TransientError)


class Failure(Exception):  # noqa: N818  it names what happened to the command
    """What went wrong, in one sentence for the user."""


class Misuse(Failure):
    """Flags that contradict each other, or that lack one."""


@contextmanager
def told_in_a_sentence(*, later: int = FAILED) -> Iterator[None]:
    """Turn what can end a command early into a sentence, the notes on it, and an exit status.

    Args:
        later: The status of what may be gone later; LATER where the command may be repeated.
    """
    try:
        yield
    except (Failure, IsothermError, OSError) as error:
        _tell(f"error: {_sentence(error)}", error)
        raise typer.Exit(_status(error, later)) from error
    except KeyboardInterrupt as stop:
        _tell("interrupted", stop)
        raise typer.Exit(INTERRUPTED) from stop
    except SystemExit as stop:
        # SIGTERM, where the command takes it. It carries its status.
        if hasattr(stop, "__notes__"):
            _tell("terminated", stop)
        raise


def _tell(sentence: str, error: BaseException) -> None:
    for line in (sentence, *getattr(error, "__notes__", ())):
        typer.echo(line, err=True)


def _status(error: Exception, later: int) -> int:
    if isinstance(error, Misuse):
        return MISUSED
    return later if isinstance(error, _LATER) else FAILED


def _sentence(error: Exception) -> str:
    # `[Errno 2] No such file or directory: 'x.csv'` is for programmers. TimeoutErrors are OSErrors.
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)
