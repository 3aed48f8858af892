"""The requests of a load: made once, serialised once, sent as bytes again and again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from isotherm.client._errors import InvalidAnswerError, NoContractError, RemoteError
from isotherm.client._inputs import Inputs, fit
from isotherm.client._request import Envelope
from isotherm.client._signature import Signature, TensorSpec
from isotherm.client._sync import Client
from isotherm.client.cli import model
from isotherm.client.cli.failure import Failure
from isotherm.client.cli.readers import csv_file
from isotherm.v1.contract_pb2 import Contract
from isotherm.v1.open_inference_pb2 import ModelMetadataResponse
from isotherm.v1.tensors import DTYPES, Array

# Enough that no cache of answers is what is measured; 64 MB of bytes are enough in any case.
_DISTINCT: Final = 64
_BYTES: Final = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Requests:
    """Serialised requests, the rows in each, where their numbers come from, and the first one."""

    bodies: tuple[bytes, ...]
    rows: int
    origin: str
    first: Inputs


@dataclass(frozen=True, slots=True)
class Subject:
    """A served model: its name and version, and how the server describes it."""

    name: str
    version: int | None
    metadata: ModelMetadataResponse
    contract: Contract | None

    @property
    def signature(self) -> Signature:
        """The tensors that it takes."""
        return Signature.from_metadata(self.name, self.metadata)


def ask(client: Client, name: str, version: int | None) -> Subject:
    """Return the model as its server describes it; only ours knows the contract."""
    metadata = client.model_metadata(name, version)
    contract: Contract | None
    try:
        contract = client.contract(name, version)
    except (NoContractError, InvalidAnswerError, RemoteError):
        contract = None
    return Subject(name, version, metadata, contract)


def drawn(subject: Subject, count: int, seed: int) -> Requests:
    """Return requests of `count` rows each, with random numbers that suit the model."""
    random = np.random.default_rng(seed)
    if subject.contract is not None:
        uniform = (_uniform(subject.contract, count, random) for _ in range(_DISTINCT))
        return _requests(subject, uniform, count, "the contract's ranges")
    specs = subject.signature.inputs
    if not specs:
        msg = f"the server does not say what model '{subject.name}' takes: its metadata is empty"
        raise Failure(msg)
    noise = (
        {spec.name: _noise(subject.name, spec, count, random) for spec in specs}
        for _ in range(_DISTINCT)
    )
    return _requests(subject, noise, count, "random numbers")


def read(client: Client, subject: Subject, count: int, path: Path) -> Requests:
    """Return requests of `count` rows each: a CSV file's rows in turn, from the front again."""
    table = csv_file.table(model.ask(client, subject.name, subject.version), path)
    several = -(-len(table) // count)
    parts = (
        table.take(range(first, first + count), axis=0, mode="wrap")
        for first in range(0, several * count, count)
    )
    return _requests(subject, parts, count, str(path))


def check(client: Client, subject: Subject, requests: Requests) -> None:
    """Send the first request and read its answer; the load's own answers are not looked into."""
    client.predict(subject.name, requests.first, version=subject.version)


def _requests(subject: Subject, inputs: Iterable[Inputs], count: int, origin: str) -> Requests:
    version = "" if subject.version is None else str(subject.version)
    envelope = Envelope(subject.name, version, ())
    made: list[Inputs] = []
    bodies: list[bytes] = []
    size = 0
    for each in inputs:
        made = made or [each]
        bodies.append(envelope.request(fit(subject.signature, each)))
        size += len(bodies[-1])
        if size > _BYTES:
            break
    return Requests(tuple(bodies), count, origin, made[0])


def _uniform(contract: Contract, count: int, random: np.random.Generator) -> Array:
    features = contract.features
    lows = np.array([feature.minimum for feature in features])
    highs = np.array([feature.maximum for feature in features])
    rows: Array = random.uniform(lows, highs, (count, len(lows)))
    for index, feature in enumerate(features):
        if feature.categories:
            rows[:, index] = random.integers(len(feature.categories), size=count)
    return rows


def _noise(model_name: str, spec: TensorSpec, count: int, random: np.random.Generator) -> Array:
    shape = _shape(model_name, spec, count)
    if spec.datatype == "BYTES":
        return np.full(shape, b"isotherm", np.object_)
    dtype = DTYPES.get(spec.datatype, np.dtype(np.float64))
    if dtype.kind == "f":
        return random.standard_normal(shape)
    # Small enough for every type, and for a table of few entries.
    return random.integers(0, 2, shape).astype(dtype)


def _shape(model_name: str, spec: TensorSpec, count: int) -> tuple[int, ...]:
    # Some servers describe a batch of 1 and take any. Any other free dimension is made as short as
    # can be: only the model knows how long it should be.
    batch, *sizes = spec.shape or (-1,)
    if batch not in {-1, 1, count}:
        msg = (
            f"model '{model_name}' takes shape {list(spec.shape)} in '{spec.name}', "
            f"which has no room for --rows {count}"
        )
        raise Failure(msg)
    return (count, *(max(size, 1) for size in sizes))
