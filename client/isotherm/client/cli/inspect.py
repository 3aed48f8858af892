"""The command `isotherm inspect`: the contract of a model, from a file or from a server."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf import json_format
from rich.console import Console, RenderableType

from isotherm.client._errors import NoContractError
from isotherm.client._sync import Client
from isotherm.client.cli import description, model_file
from isotherm.client.cli.failure import Failure, told_in_a_sentence
from isotherm.client.cli.options import (
    DEFAULT_ADDRESS,
    ModelVersion,
    Timeout,
    TlsCa,
    TokenFile,
    UseTls,
    tls_of,
)
from isotherm.v1 import contract as contracts
from isotherm.v1.contract_pb2 import Contract

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def inspect(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="PATH|NAME", help="A model file, its folder, or the name of a served model."
        ),
    ],
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="HOST:PORT", help="Ask this server, not the disk."),
    ] = None,
    version: ModelVersion = None,
    timeout: Timeout = 5.0,
    tls: UseTls = False,
    tls_ca: TlsCa = None,
    token_file: TokenFile = None,
    json: Annotated[bool, typer.Option("--json", help="Print the contract as JSON.")] = False,
) -> None:
    """Print what a model was trained on, in which units, how well, and what it answers.

    Of a served model without a contract, the tensors that it takes and gives.
    """
    with told_in_a_sentence():
        if address is None and _is_path(subject):
            _print_contract(from_file(_newest_version(Path(subject), version)), json=json)
            return
        with Client(
            address or DEFAULT_ADDRESS, tls=tls_of(tls, tls_ca), token=token_file, timeout=timeout
        ) as client:
            try:
                contract = client.contract(subject, version)
            except NoContractError as error:
                if json:
                    raise
                metadata = client.model_metadata(subject, version)
                _print(description.of_metadata(metadata))
                typer.echo(f"note: {error}", err=True)
            else:
                _print_contract(contract, json=json)


def _print_contract(contract: Contract, *, json: bool) -> None:
    if json:
        typer.echo(json_format.MessageToJson(contract, preserving_proto_field_name=True))
    else:
        _print(description.of(contract))


def _print(parts: Iterable[RenderableType]) -> None:
    console = Console(markup=False, highlight=False)
    for part in parts:
        console.print(part)


def from_file(path: Path) -> Contract:
    """Return the contract in an ONNX file."""
    text = model_file.metadata(path).get(contracts.METADATA_KEY)
    if text is None:
        msg = f"{path} carries no contract: its metadata has no '{contracts.METADATA_KEY}'"
        raise Failure(msg)
    try:
        return contracts.loads(text)
    except contracts.ContractError as error:
        msg = f"{path}: {error}"
        raise Failure(msg) from error


def _is_path(subject: str) -> bool:
    return os.sep in subject or subject.endswith(".onnx") or Path(subject).exists()


def _newest_version(path: Path, version: int | None) -> Path:
    if not path.is_dir():
        return path
    if (path / "model.onnx").exists():
        return path / "model.onnx"
    # Triton's layout: <model>/<version>/model.onnx, versions being whole numbers.
    found = sorted(
        int(each.parent.name) for each in path.glob("*/model.onnx") if each.parent.name.isdecimal()
    )
    wanted = version if version is not None else max(found, default=None)
    if wanted not in found:
        what = "version" if version is None else f"version {version}"
        msg = f"{path} has no {what} with a model.onnx in it"
        raise Failure(msg)
    return path / str(wanted) / "model.onnx"
