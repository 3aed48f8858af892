"""What others build on, one line a promise: wire, contract, metrics, commands, Python names.

    python -m tests.architecture.promises --write

adds what is new to the lists in `promised/`. It never takes a line away: whoever breaks a promise
deletes its line by hand, in the commit that breaks it (docs/compatibility.md).
"""

from __future__ import annotations

import inspect
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Final

import typer
from google.protobuf.descriptor import Descriptor as MessageDescriptor
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor, FileDescriptor

from isotherm.client.cli import dispatch
from isotherm.server.service import reflection
from isotherm.v1 import contract_pb2
from tests.architecture import metrics_page
from tests.deploy.observability.metric_names import documented_families

ROOT: Final = Path(__file__).parents[2]
PROMISED: Final = Path(__file__).parent / "promised"
# Modules whose `__all__` is for users.
PUBLIC_MODULES: Final = ("isotherm.client", "isotherm.trainer")
# Users make these; the others are made for them.
_CONSTRUCTED: Final = frozenset(
    {
        "AsyncClient",
        "Client",
        "Hedge",
        "Retry",
        "SequentialClassifier",
        "SequentialRegressor",
        "Tls",
    }
)
_EVERYBODY_S: Final = {BaseException, Exception, object}
_FIELD: Final = FieldDescriptor
_TYPES: Final = {
    getattr(_FIELD, name): name.removeprefix("TYPE_").lower()
    for name in dir(_FIELD)
    if name.startswith("TYPE_")
}


def wire() -> Iterator[str]:
    """Services, messages and enums of the protocol, as reflection shows it, and of the contract."""
    pool = reflection.public_pool()
    for service in reflection.SERVICES:
        if not service.startswith("grpc."):
            yield from _file(pool.FindFileContainingSymbol(service))
    yield from _file(contract_pb2.DESCRIPTOR)


def metrics() -> Iterator[str]:
    """Metric families with their labels, by docs/metrics.md, which a slow test compares."""
    for family in documented_families():
        yield " ".join((family.type, family.name, *sorted(family.labels)))


def commands() -> Iterator[str]:
    """Arguments, flags, environment variables and defaults of every command."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    # What is installed may be older than the tree.
    apps = dict(project["entry-points"]["isotherm.commands"])
    apps |= {known.name: known.app for known in dispatch._KNOWN if known.app}
    for name, app in apps.items():
        module, _, attribute = app.partition(":")
        command = typer.main.get_command(getattr(import_module(module), attribute))
        for parameter in command.params:
            default = "" if parameter.default in {None, ""} else f" = {parameter.default}"
            if parameter.param_type_name == "argument":
                yield f"isotherm {name} {(parameter.name or '').upper()}{default}"
                continue
            for flag in (*parameter.opts, *parameter.secondary_opts):
                yield f"isotherm {name} {flag}{default}"
            if parameter.envvar:
                yield f"isotherm {name} {parameter.envvar}"


def python() -> Iterator[str]:
    """Public names, and how their arguments are given."""
    for name in PUBLIC_MODULES:
        module = import_module(name)
        for public in module.__all__:
            yield from _python_object(f"{name}.{public}", getattr(module, public))


LISTS: Final = MappingProxyType(
    {"wire": wire, "metrics": metrics, "commands": commands, "python": python}
)


def listed(name: str) -> list[str]:
    """Return the promises as they are committed."""
    path = PROMISED / f"{name}.txt"
    return path.read_text().splitlines() if path.exists() else []


def _file(file: FileDescriptor) -> Iterator[str]:
    for service in file.services_by_name.values():
        for method in service.methods:
            streams = [
                "stream " * flag for flag in (method.client_streaming, method.server_streaming)
            ]
            yield (
                f"rpc {method.full_name}({streams[0]}{method.input_type.full_name}) "
                f"returns ({streams[1]}{method.output_type.full_name})"
            )
    for enum in file.enum_types_by_name.values():
        yield from _enum(enum)
    for message in file.message_types_by_name.values():
        yield from _message(message)


def _enum(enum: EnumDescriptor) -> Iterator[str]:
    for value in enum.values:
        yield f"enum {enum.full_name}.{value.name} = {value.number}"


def _message(message: MessageDescriptor) -> Iterator[str]:
    yield f"message {message.full_name}"
    for field in message.fields:
        kind = field.message_type or field.enum_type
        label = "repeated " if field.is_repeated else ""
        group = f" in {field.containing_oneof.name}" if field.containing_oneof else ""
        type_name = kind.full_name if kind else _TYPES[field.type]
        yield f"field {field.full_name} = {field.number} {label}{type_name}{group}"
    for enum in message.enum_types:
        yield from _enum(enum)
    for nested in message.nested_types:
        yield from _message(nested)


def _python_object(name: str, value: object) -> Iterator[str]:
    yield name
    if not inspect.isclass(value):
        if callable(value):
            yield from _arguments(name, value)
        return
    for base in value.__mro__[1:]:
        if base not in _EVERYBODY_S and not base.__name__.startswith("_"):
            yield f"{name} is a {base.__name__}"
    if value.__name__ in _CONSTRUCTED:
        yield from _arguments(name, value)
    ours = [base for base in value.__mro__ if base.__module__.startswith("isotherm.")]
    for member in sorted({member for base in ours for member in vars(base)}):
        if member.startswith("_"):
            continue
        yield f"{name}.{member}"
        function = getattr(value, member)
        if inspect.isroutine(function):
            yield from _arguments(f"{name}.{member}", function)


def _arguments(name: str, function: Callable[..., object]) -> Iterator[str]:
    for index, parameter in enumerate(inspect.signature(function).parameters.values()):
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            yield f"{name}({parameter.name}) any other keyword"
            continue
        where = "keyword" if parameter.kind is parameter.KEYWORD_ONLY else f"place {index}"
        need = "required" if parameter.default is parameter.empty else "optional"
        yield f"{name}({parameter.name}) {where}, {need}"


def write() -> None:
    """Add what is new to the lists, after writing the page that one of them is read from."""
    metrics_page.write()
    for name, promises in LISTS.items():
        lines = sorted({*listed(name), *promises()})
        (PROMISED / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    write()
