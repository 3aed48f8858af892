"""The command that goes on where a run has ended."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator
from typing import Any

import typer


def command(context: typer.Context, *, without: Collection[str], extra: Collection[str]) -> str:
    """Return the command line of a run again, with other flags.

    Args:
        context: The run's own.
        without: Names of parameters that are left out.
        extra: What is added to the end.
    """
    words = [context.command_path]
    for parameter in context.command.params:
        name = parameter.name or ""
        if name not in without and given(context, name):
            words += _words(parameter, context.params[name])
    # The first word is the program and its sub-command.
    return " ".join((words[0], *map(shlex.quote, (*words[1:], *extra))))


def given(context: typer.Context, name: str) -> bool:
    """Return whether a parameter stands on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _words(parameter: Any, value: Any) -> Iterator[str]:
    values = value if isinstance(value, list | tuple) else [value]
    if parameter.param_type_name == "argument":
        yield from map(str, values)
    elif value is True:
        yield parameter.opts[0]
    elif value is not False:
        for each in values:
            yield from (parameter.opts[0], str(getattr(each, "value", each)))
