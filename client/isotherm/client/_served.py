"""A served model: what its server says about it, which the client asks once and remembers."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from isotherm.client._answer import Reader
from isotherm.client._category import Lookup, lookups
from isotherm.client._coalescing import Group
from isotherm.client._inputs import Fitted
from isotherm.client._plain import Plain
from isotherm.client._request import Envelope
from isotherm.client._signature import Signature, TensorSpec
from isotherm.v1 import contract as contracts
from isotherm.v1.cells import Cells
from isotherm.v1.contract_pb2 import Contract
from isotherm.v1.open_inference_pb2 import ModelConfig, ModelMetadataResponse

# A merged request holds no more: it should be on its way while others are being made.
_MOST_ROWS: Final = 1024
# A caller with more has a batch already: copying it would cost more than a request of its own.
MOST_SHARED_ROWS: Final = 64
MOST_SHARED_BYTES: Final = 64 * 1024
# Of what our server alone says in a model's configuration, its contract among them.
_OURS: Final = "isotherm."


class Format(NamedTuple):
    """How a request is written, and its answer read."""

    envelope: Envelope
    reader: Reader


@dataclass(frozen=True, slots=True)
class Served:
    """One model as it was when the server was asked.

    Attributes:
        signature: Its inputs.
        contract: None where the server sends none.
        version: The version that answers; empty where it cannot change, or is not known.
        merged_rows: How many rows of several callers may go into one request; 0 where the server
            does not say that the model takes rows one by one.
        ours: Whether the server is one of ours.
        plain: Its only input, where it has one of shape (rows, features).
        cells: What its contract refuses; None without a contract.
        lookups: The codes of its contract's categories, by feature.
        groups: Callers who can share a request, by the outputs that they want.
        formats: What their requests and answers look like, likewise.
    """

    signature: Signature
    outputs: tuple[TensorSpec, ...]
    contract: Contract | None
    version: str
    merged_rows: int
    ours: bool
    plain: Plain | None
    cells: Cells | None = None
    lookups: Mapping[str, Lookup] = field(default_factory=dict)
    groups: dict[tuple[str, ...], Group] = field(default_factory=dict)
    formats: dict[tuple[str, ...], Format] = field(default_factory=dict)

    @property
    def streamed_rows(self) -> int:
        """How many rows of several batches of a stream may go into one request.

        Our own server runs a long request in parts; others refuse it.
        """
        return sys.maxsize if self.ours else self.merged_rows

    def lacks(self, outputs: Sequence[str]) -> list[str]:
        """Return those of `outputs` that it does not have, as far as it describes them."""
        names = {spec.name for spec in self.outputs}
        return [name for name in outputs if names and name not in names]

    @property
    def shared_rows(self) -> int:
        """How many rows one caller of a group may have."""
        return min(MOST_SHARED_ROWS, self.merged_rows)

    def forget(self) -> None:
        """Have nobody join its groups any more."""
        for group in self.groups.values():
            group.stale = True

    def rows_to_share(self, fitted: Sequence[Fitted]) -> int:
        """Return how many rows a request has that may travel with others; 0 where it should not."""
        rows: int = fitted[0][2].shape[0]
        if not 0 < rows <= self.shared_rows:
            return 0
        size = 0
        for _, _, array in fitted:
            if array.shape[0] != rows:
                return 0
            size += array.nbytes
        return rows if size <= MOST_SHARED_BYTES else 0

    def format(self, key: tuple[str, str], outputs: tuple[str, ...]) -> Format:
        """Return what makes the requests for these outputs, and reads their answers."""
        found = self.formats.get(outputs)
        if found is None:
            made = Format(Envelope(*key, outputs), Reader(outputs))
            found = self.formats.setdefault(outputs, made)
        return found

    def differs(self, other: Served) -> bool:
        """Tell whether other requests must be made for the other model than for this one."""
        mine = self.signature, self.outputs, self.contract, self.merged_rows
        return mine != (other.signature, other.outputs, other.contract, other.merged_rows)


def describe(
    key: tuple[str, str],
    metadata: ModelMetadataResponse,
    config: ModelConfig | None,
    *,
    refuse_unknown: bool = False,
) -> Served:
    """Return the model that `metadata` and `config` describe; `key` is its name and version."""
    model, version = key
    signature = Signature.from_metadata(model, metadata)
    outputs = tuple(
        TensorSpec(tensor.name, tensor.datatype, tuple(tensor.shape)) for tensor in metadata.outputs
    )
    described = bool(signature.inputs and outputs)
    merges = (
        config is not None
        and described
        and all(_by_rows(spec) for spec in (*signature.inputs, *outputs))
    )
    contract = None if config is None else _contract(config)
    return Served(
        signature,
        outputs,
        contract,
        "" if version else _newest(metadata),
        min(config.max_batch_size, _MOST_ROWS) if config is not None and merges else 0,
        config is not None and _is_ours(config),
        Plain.of(signature, contract),
        None if contract is None else Cells(contract),
        {} if contract is None else lookups(contract, refuse_unknown=refuse_unknown),
    )


def _by_rows(spec: TensorSpec) -> bool:
    # Rows of one width: texts, and rows whose width varies, travel alone.
    return (
        spec.shape[:1] == (-1,)
        and all(size >= 0 for size in spec.shape[1:])
        and spec.datatype != "BYTES"
    )


def _is_ours(config: ModelConfig) -> bool:
    parameters = config.parameters.items()
    return any(name.startswith(_OURS) and each.string_value for name, each in parameters)


def _contract(config: ModelConfig) -> Contract | None:
    text = config.parameters[contracts.METADATA_KEY].string_value
    if not text:
        return None
    try:
        return contracts.loads(text)
    except contracts.ContractError:
        # `Client.contract` says what is wrong with it; arrays need none.
        return None


def _newest(metadata: ModelMetadataResponse) -> str:
    numbers = [int(version) for version in metadata.versions if version.isdecimal()]
    return str(max(numbers)) if numbers else ""
