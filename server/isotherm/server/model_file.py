"""A model file on its way to be served: what it is opened with, and what it has to hold to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from isotherm.server import checks
from isotherm.server.model_config import ModelSettings
from isotherm.server.session import Array, ProviderOptions, Session
from isotherm.v1 import contract as contracts
from isotherm.v1.contract_pb2 import Contract

Run = Callable[[Sequence[Array]], list[Array]]


class ModelFile:
    """A file that has been read and vetted; it may be opened several times."""

    def __init__(
        self, path: Path, data: bytes, external: Mapping[str, bytes], settings: ModelSettings
    ) -> None:
        self.label = str(path)
        self.max_batch_size = settings.batching.max_batch_size
        self.may_batch = settings.may_batch
        self.lanes = settings.batching.lanes
        self.graphs = settings.device.graphs
        self.memory_limit_mib = settings.device.memory_limit_mib
        self._folder = path.parent
        self._data = data
        self._external = external
        self._settings = settings
        self._contract: Contract | None = None

    def contract(self, session: Session) -> Contract | None:
        """Return the contract that the file carries; raise ContractError for one that is none."""
        text = contract_json(session)
        if text and self._contract is None:
            self._contract = contracts.loads(text)
        return self._contract

    def open(self, providers: ProviderOptions) -> Session:
        """Open the file; raise LoadError with the runtime's reason."""
        threads = self._settings.intra_op_threads
        return Session(self._data, self._folder, providers, self._external, threads=threads)

    def check(self, session: Session) -> None:
        """Raise LoadError where the contract or `config.pbtxt` speaks of another graph."""
        contract = self.contract(session)
        if contract is not None:
            checks.check_contract(contract, session)
        checks.check_settings(self._settings, session)

    def prove(self, session: Session, run: Run) -> None:
        """Raise LoadError where `run` answers a golden row otherwise than the trainer did."""
        contract = self.contract(session)
        if contract is not None:
            checks.check_golden_rows(contract, session, run)

    def tolerates_tf32(self, session: Session) -> bool:
        """Tell whether the golden rows allow for matrices multiplied with fewer digits."""
        contract = self.contract(session)
        return contract is not None and checks.tolerates_tf32(contract)


def contract_json(session: Session) -> str:
    """Return the text of the contract that an opened file carries; empty without one."""
    return session.metadata.get(contracts.METADATA_KEY, "")
