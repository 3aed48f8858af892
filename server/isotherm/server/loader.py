"""From a model file to a version that may serve: read, load, hold to its contract, measure."""

from __future__ import annotations

import hashlib
import math
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from isotherm.server.config import ServerConfig
from isotherm.server.device.lane import Lane
from isotherm.server.errors import LoadError
from isotherm.server.model_config import ModelSettings
from isotherm.server.model_file import ModelFile, contract_json
from isotherm.server.placement import Placement
from isotherm.server.placer import Placer
from isotherm.server.session import Session
from isotherm.server.vetting.vetter import Vetter
from isotherm.v1 import contract as contracts
from isotherm.v1.contract_pb2 import Contract

# The runtime's own limit for a model in one file.
MAX_FILE_BYTES: Final = 2 << 30

_REST_AFTER_S: Final = 5.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Model:
    """One version, ready to serve."""

    name: str
    version: int
    # None for a plain ONNX file.
    contract: Contract | None
    contract_json: str
    placement: Placement
    sha256: str
    load_ns: int
    settings: ModelSettings = field(default_factory=ModelSettings)

    @property
    def session(self) -> Session:
        """What says which tensors it takes and gives; it runs what the device does not."""
        return self.placement.session

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Its instances on a device."""
        return self.placement.lanes

    @property
    def provider(self) -> str:
        """The execution provider: "cuda" where a device runs some of its batches, else "cpu"."""
        return self.placement.provider

    @property
    def batched(self) -> bool:
        """Whether the rows of several requests may run together."""
        return self.session.batched and self.settings.may_batch

    @property
    def max_batch_size(self) -> int:
        """Rows in one run; 0 where requests run as they are, their shapes whole."""
        return self.settings.batching.max_batch_size if self.batched else 0

    def close(self) -> list[Future[None]]:
        """Let the device go, without waiting; nothing may be running there any more."""
        return self.placement.close()


class Loader:
    """Loads model files onto the execution provider that the server was told to use."""

    def __init__(
        self,
        config: ServerConfig,
        vetter: Vetter | None = None,
        placer: Placer | None = None,
        *,
        slot: int = 0,
    ) -> None:
        """Take the device of the worker's `slot`, unless a `placer` has its own.

        Raises ProviderError when the provider cannot be had.
        """
        self._vetter = vetter or Vetter(config.vetting)
        self._defaults = ModelSettings.of(config)
        self._placer = placer or Placer.of(config, slot)

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
            file = ModelFile(path, data, external, settings)
            placement = self._placer.place(file)
        except (LoadError, contracts.ContractError) as error:
            msg = f"{path}: {error}"
            raise LoadError(msg) from error
        return Model(
            name=name,
            version=version,
            contract=file.contract(placement.session),
            contract_json=contract_json(placement.session),
            placement=placement,
            sha256=sha256,
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
