"""The dispatcher: the list of sub-commands, each imported only when it is called.

The commands of the other parts are found by their entry points in the group `isotherm.commands`, so
nothing of them is imported here; their help lines are static for the same reason.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points, version
from importlib.util import find_spec
from typing import Annotated, Final, NoReturn

import typer

_GROUP: Final = "isotherm.commands"


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A sub-command: what it does, where its typer app is, what must be installed for it."""

    name: str
    summary: str
    # `module:attribute`; empty when an entry point says it.
    app: str = ""
    extra: str = "cli"
    packages: tuple[str, ...] = ()

    @property
    def installed(self) -> bool:
        """Whether the packages that the command needs can be found, without importing them."""
        return all(find_spec(package) is not None for package in self.packages)

    @property
    def remedy(self) -> str:
        """The command that installs what is missing."""
        return f"pip install 'isotherm[{self.extra}]'"

    @property
    def line(self) -> str:
        """What the list of commands says about it."""
        return self.summary if self.installed else f"{self.summary} Missing: {self.remedy}"

    def load(self) -> typer.Typer:
        """Import the command's app; raise ModuleNotFoundError when its extra is missing."""
        module, _, attribute = self.app.partition(":")
        app: typer.Typer = getattr(importlib.import_module(module), attribute)
        return app


_KNOWN: Final = (
    Command(
        name="demo",
        summary="Train, serve, predict, measure and stop: the whole way in one go.",
        app="isotherm.client.cli.demo:app",
        extra="all",
        packages=("torch", "onnxscript", "onnxruntime", "prometheus_client"),
    ),
    Command(
        name="train",
        summary="Fit a model to a table and publish it with its contract.",
        extra="trainer",
        packages=("torch", "onnx", "onnxscript"),
    ),
    Command(
        name="tune",
        summary="Search for a network's settings, train the best, publish it.",
        extra="trainer,tune",
        packages=("torch", "onnx", "onnxscript", "optuna"),
    ),
    Command(
        name="export",
        summary="Give a contract to a model that was trained elsewhere, and publish it.",
        extra="trainer",
        packages=("torch", "onnx", "onnxscript"),
    ),
    Command(
        name="serve",
        summary="Serve a repository of models over gRPC.",
        extra="server",
        packages=("onnxruntime", "prometheus_client", "grpc_health", "grpc_reflection"),
    ),
    Command(
        name="doctor",
        summary="Show what models can run on here, and what mends the rest.",
    ),
    Command(
        name="predict",
        summary="Ask a served model for predictions.",
        app="isotherm.client.cli.predict:app",
    ),
    Command(
        name="bench",
        summary="Load a server and measure it: latencies, the rate it holds.",
        app="isotherm.client.cli.bench.command:app",
    ),
    Command(
        name="feedback",
        summary="Report what predictions should have been; metrics show the errors.",
        app="isotherm.client.cli.feedback:app",
    ),
    Command(
        name="inspect",
        summary="Print a model's contract, from a file or from a server.",
        app="isotherm.client.cli.inspect:app",
    ),
    Command(
        name="health",
        summary="Probe a server: exit status 0 when it serves.",
        app="isotherm.client.cli.health:app",
    ),
)

app = typer.Typer(
    add_completion=False,
    help="Train a torch.nn.Sequential on a table, serve it over gRPC, ask it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _commands() -> Iterator[Command]:
    foreign = {entry.name: entry for entry in entry_points(group=_GROUP)}
    for command in _KNOWN:
        if command.app:
            yield command
        elif command.name in foreign:
            yield _with_app(command, foreign.pop(command.name))
    for name, entry in sorted(foreign.items()):
        yield Command(name=name, summary=f"Provided by {entry.module}.", app=entry.value)


def _with_app(command: Command, entry: EntryPoint) -> Command:
    return Command(
        name=command.name,
        summary=command.summary,
        app=entry.value,
        extra=command.extra,
        packages=command.packages,
    )


def _forwarder(command: Command) -> Callable[[typer.Context], None]:
    def forward(context: typer.Context) -> None:
        if not command.installed:
            _refuse(command)
        try:
            part = command.load()
        except ModuleNotFoundError as error:
            # A module of our own that is missing is a bug, and shows as one.
            if (error.name or "").partition(".")[0] == "isotherm":
                raise
            _refuse(command)
        part(args=list(context.args), prog_name=f"isotherm {command.name}")

    return forward


def _refuse(command: Command) -> NoReturn:
    typer.echo(
        f"isotherm {command.name} needs packages that are not installed: {command.remedy}", err=True
    )
    raise typer.Exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"isotherm {version('isotherm')}")
        raise typer.Exit


@app.callback()
def _isotherm(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


for _command in _commands():
    app.command(
        _command.name,
        # The short help is listed as it is; the long one would be cut after its first sentence.
        short_help=_command.line,
        # Everything after the name belongs to the part's own parser, --help included.
        add_help_option=False,
        context_settings={
            "allow_extra_args": True,
            "allow_interspersed_args": False,
            "ignore_unknown_options": True,
        },
    )(_forwarder(_command))
