"""From a model file to a version that may serve: read, load, hold to its contract, measure."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from isotherm.server.config import Provider, ServerConfig
from isotherm.server.errors import LoadError
from isotherm.server.model_config import CONFIG_FILE, ModelSettings
from isotherm.server.placement import (
    UNKNOWN_COST,
    Cost,
    check_provider,
    choose_providers,
    measure,
    provider_name,
)
from isotherm.server.session import Array, ProviderOptions, Session, TensorSpec, reason
from isotherm.server.vetting.vetter import Vetter
from isotherm.v1 import contract as contracts
from isotherm.v1 import open_inference_pb2 as pb
from isotherm.v1.contract_pb2 import Contract

_log = logging.getLogger(__name__)

# The runtime's own limit for a model in one file.
MAX_FILE_BYTES: Final = 2 << 30

_REST_AFTER_S: Final = 5.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Model:
    """One version, ready to serve."""

    name: str
    version: int
    session: Session
    # None for a plain ONNX file.
    contract: Contract | None
    contract_json: str
    provider: str
    sha256: str
    cost: Cost
    load_ns: int
    settings: ModelSettings = field(default_factory=ModelSettings)

    @property
    def batched(self) -> bool:
        """Whether the rows of several requests may run together."""
        return self.session.batched and self.settings.may_batch

    @property
    def max_batch_size(self) -> int:
        """Rows in one run; 0 where requests run as they are, their shapes whole."""
        return self.settings.batching.max_batch_size if self.batched else 0


class Loader:
    """Loads model files onto the execution provider that the server was told to use."""

    def __init__(self, config: ServerConfig, vetter: Vetter | None = None) -> None:
        """Raise ProviderError when the provider cannot be had."""
        self._vetter = vetter or Vetter(config.vetting)
        self._provider: Provider = config.provider
        self._defaults = ModelSettings.of(config)
        self._providers: ProviderOptions = choose_providers(config.provider)

    def load(
        self, name: str, version: int, path: Path, settings: ModelSettings | None = None
    ) -> Model:
        """Return the version in `path`, proved on its golden rows; raise LoadError otherwise."""
        settings = settings or self._defaults
        started_ns = time.perf_counter_ns()
        data = _read(path)
        sha256 = hashlib.sha256(data).hexdigest()
        try:
            digests = self._vetter.check(path, sha256, settings.batching.max_batch_size)
            external = {name: _read_vetted(path, name, found) for name, found in digests.items()}
            session = Session(
                data, path.parent, self._providers, external, threads=settings.intra_op_threads
            )
            check_provider(self._provider, session)
            contract_json = session.metadata.get(contracts.METADATA_KEY, "")
            contract = contracts.loads(contract_json) if contract_json else None
            if contract is not None:
                check_contract(contract, session)
            _check_settings(settings, session)
            cost = _measure(path, session, settings.batching.max_batch_size)
            if contract is not None:
                check_golden_rows(contract, session)
        except (LoadError, contracts.ContractError) as error:
            msg = f"{path}: {error}"
            raise LoadError(msg) from error
        return Model(
            name=name,
            version=version,
            session=session,
            contract=contract,
            contract_json=contract_json,
            provider=provider_name(session),
            sha256=sha256,
            cost=cost,
            load_ns=time.perf_counter_ns() - started_ns,
            settings=settings,
        )

    def rest_in_s(self) -> float | None:
        """Return when `rest` is due, unless a file comes before; None when there is nothing to do.

        Starting what vets files takes longer than a file does: versions that follow each other
        closely share it.
        """
        idle_s = self._vetter.idle_s
        return None if idle_s is None else max(0.0, _REST_AFTER_S - idle_s)

    def rest(self) -> None:
        """Give back what only loading needs."""
        self._vetter.close()


def check_contract(contract: Contract, session: Session) -> None:
    """Raise LoadError where the contract speaks of another graph than the file's."""
    tensors = contract.tensors
    inputs = {spec.name: spec for spec in session.inputs}
    outputs = {spec.name: spec for spec in session.outputs}
    _check_tensor("input", tensors.input, inputs, len(contract.features), "features")
    for name in (tensors.prediction, tensors.lower, tensors.upper):
        if name:
            width = contracts.prediction_width(contract)
            _check_tensor("output", name, outputs, width, "target columns")
    if set(inputs) != {tensors.input}:
        msg = f"the contract knows the input '{tensors.input}', the graph has {', '.join(inputs)}"
        raise LoadError(msg)


def check_golden_rows(contract: Contract, session: Session) -> None:
    """Run the golden rows where the model will serve; raise LoadError when an answer differs."""
    golden = contract.golden
    if not golden.rows:
        return
    inputs = np.array(golden.inputs, np.float32).reshape(golden.rows, -1)
    expected = np.array(golden.outputs, np.float32).reshape(golden.rows, -1)
    names = [spec.name for spec in session.outputs]
    outputs = session.run([inputs])
    served = outputs[names.index(contract.tensors.prediction)]
    tolerance = golden.absolute_tolerance + golden.relative_tolerance * np.abs(expected)
    # Written so that a NaN on either side counts as a difference.
    wrong = ~(np.abs(served - expected) <= tolerance)
    if wrong.any():
        raise LoadError(_golden_difference(contract, inputs, expected, served, wrong))


def _check_settings(settings: ModelSettings, session: Session) -> None:
    """Raise LoadError where `config.pbtxt` speaks of another graph than the file's."""
    config = settings.config
    if config.max_batch_size and not session.batched:
        msg = (
            f"{CONFIG_FILE} has max_batch_size {config.max_batch_size}, but the first dimension of "
            "an input or output is fixed: export it free, or set max_batch_size to 0"
        )
        raise LoadError(msg)
    for kind, declared, specs in (
        ("input", config.input, session.inputs),
        ("output", config.output, session.outputs),
    ):
        types = {spec.name: spec.datatype for spec in specs}
        for tensor in declared:
            datatype = pb.DataType.Name(tensor.data_type).removeprefix("TYPE_")
            datatype = "BYTES" if datatype == "STRING" else datatype
            if types.get(tensor.name) != datatype:
                found = ", ".join(f"{name} {datatype}" for name, datatype in types.items())
                msg = f"{CONFIG_FILE} has {kind} '{tensor.name}' {datatype}, the graph has {found}"
                raise LoadError(msg)


def _golden_difference(
    contract: Contract, inputs: Array, expected: Array, served: Array, wrong: Array
) -> str:
    row, column = (int(index) for index in np.argwhere(wrong)[0])
    given = ", ".join(
        f"{feature.name}={value:g}"
        for feature, value in zip(contract.features, inputs[row], strict=True)
    )
    return (
        f"{int(wrong.any(axis=1).sum())} of {len(inputs)} golden rows disagree: for {given} the "
        f"model should answer {_column_names(contract)[column]}={expected[row, column]:g} and "
        f"answers {served[row, column]:g}; export the model again, or do not serve it here"
    )


def _column_names(contract: Contract) -> list[str]:
    return [
        f"{target.name}:{label}" if label else target.name
        for target in contract.targets
        for label in (target.classes or [""])
    ]


def _check_tensor(
    kind: str, name: str, tensors: dict[str, TensorSpec], width: int, columns: str
) -> None:
    spec = tensors.get(name)
    if spec is None:
        found = ", ".join(tensors) or "none"
        msg = f"the contract's {kind} '{name}' is not in the graph, which has {found}"
        raise LoadError(msg)
    if spec.datatype != "FP32" or spec.shape != (-1, width):
        msg = (
            f"the contract has {width} {columns}, so {kind} '{name}' must be FP32 of shape "
            f"[-1, {width}]; the graph has {spec.datatype} {list(spec.shape)}"
        )
        raise LoadError(msg)


def _measure(path: Path, session: Session, max_batch_size: int) -> Cost:
    try:
        return measure(session, max_batch_size)
    except Exception as error:  # noqa: BLE001  zeros need not be an input that the model can take
        _log.warning(
            "%s could not be warmed up or timed, since it fails on rows of zeros (%s): its batches "
            "run on a thread of their own",
            path,
            reason(error),
        )
        return UNKNOWN_COST


def _read(path: Path, max_bytes: float = MAX_FILE_BYTES) -> bytes:
    try:
        size = path.stat().st_size
        if size > max_bytes:
            msg = f"{path} has {size} bytes, at most {max_bytes} are allowed"
            raise LoadError(msg)
        return path.read_bytes()
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise LoadError(msg) from error


def _read_vetted(path: Path, location: str, sha256: str) -> bytes:
    """Read a file beside the model's; raise LoadError when it is not the one that was vetted."""
    data = _read(path.parent / location, math.inf)
    if hashlib.sha256(data).hexdigest() != sha256:
        msg = f"its external data '{location}' changed while it was vetted"
        raise LoadError(msg)
    return data
