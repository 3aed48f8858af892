"""A served model as the command line sees it: its columns, with units where it has a contract."""

from __future__ import annotations

import math
from dataclasses import dataclass

from isotherm.client._category import Lookup
from isotherm.client._errors import NoContractError, UnsupportedError
from isotherm.client._sync import Client
from isotherm.client.cli.failure import Failure
from isotherm.v1.contract_pb2 import Contract, Feature
from isotherm.v1.open_inference_pb2 import ModelMetadataResponse

_ROWS_AND_FEATURES = 2
_MESSAGE_BYTES = 2**21


@dataclass(frozen=True, slots=True)
class Column:
    """One column of rows, with its unit and the range that the model was trained on."""

    name: str
    unit: str = ""
    minimum: float = -math.inf
    maximum: float = math.inf
    # Of a category: its values' codes.
    lookup: Lookup | None = None

    @property
    def label(self) -> str:
        """The name with its unit."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name


@dataclass(frozen=True, slots=True)
class Model:
    """The features that a model takes, of which datatype, and what its outputs are called."""

    name: str
    features: tuple[Column, ...]
    outputs: tuple[str, ...]
    contract: Contract | None
    datatype: str = ""

    @property
    def categories(self) -> list[int]:
        """The positions of the features that are categories."""
        return [index for index, each in enumerate(self.features) if each.lookup is not None]


def ask(client: Client, name: str, version: int | None) -> Model:
    """Return the model as its server describes it: by contract, or by the protocol's metadata."""
    metadata = client.model_metadata(name, version)
    outputs = tuple(tensor.name for tensor in metadata.outputs)
    try:
        contract = client.contract(name, version)
    except NoContractError:
        features = _unnamed_features(name, metadata)
        return Model(name, features, outputs, None, metadata.inputs[0].datatype)
    features = tuple(map(_feature, contract.features))
    datatype = metadata.inputs[0].datatype if metadata.inputs else ""
    return Model(name, features, outputs, contract, datatype)


def _feature(feature: Feature) -> Column:
    lookup = Lookup(feature) if feature.categories else None
    return Column(feature.name, feature.unit, feature.minimum, feature.maximum, lookup)


def most_rows(client: Client, model: Model, version: int | None) -> int:
    """Return how many rows one call may have: as many as the server batches, and fit a message."""
    # Servers take messages of 4 MB unless they are told otherwise; a number has up to 8 bytes.
    fitting = max(1, _MESSAGE_BYTES // (8 * len(model.features)))
    try:
        batched = client.config(model.name, version).max_batch_size
    except UnsupportedError:
        batched = 0
    return min(batched, fitting) if batched > 0 else fitting


def _unnamed_features(name: str, metadata: ModelMetadataResponse) -> tuple[Column, ...]:
    if len(metadata.inputs) != 1:
        names = ", ".join(tensor.name for tensor in metadata.inputs) or "none"
        msg = f"model '{name}' has {len(metadata.inputs)} inputs ({names}), predict needs one"
        raise Failure(msg)
    tensor = metadata.inputs[0]
    width = tensor.shape[1] if len(tensor.shape) == _ROWS_AND_FEATURES else -1
    if width < 1:
        msg = f"model '{name}' takes shape {list(tensor.shape)}, predict needs [rows, features]"
        raise Failure(msg)
    if width == 1:
        return (Column(tensor.name),)
    return tuple(Column(f"{tensor.name}[{index}]") for index in range(width))
