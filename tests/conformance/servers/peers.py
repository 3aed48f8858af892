"""The servers that the clients are tried against, and what each of them offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx

from tests.support import kserve, mlserver, models, triton
from tests.support.server import serving


@dataclass(frozen=True, slots=True)
class Peer:
    """A server: how it starts over a repository, and which calls it has beyond the protocol's core.

    Attributes:
        start: Runs it until the block ends; gives its address.
        describes: Whether every model's metadata lists its tensors, or that is up to their author.
        versions: Whether it looks at the version that a call asks for.
        config: Whether it has ModelConfig, and so says that a model takes rows one by one.
        statistics: Whether it has ModelStatistics.
        index: Whether it has RepositoryIndex.
        control: Whether callers may load and unload.
        ours: Whether it has what only Isotherm has: contracts and feedback.
        too_large: What it says of 400 000 rows, 6 MB of them; empty where it answers.
    """

    name: str
    start: Callable[[Path], AbstractContextManager[str]]
    describes: bool = True
    versions: bool = False
    config: bool = False
    statistics: bool = False
    index: bool = False
    control: bool = False
    ours: bool = False
    too_large: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """A peer while it runs."""

    peer: Peer
    address: str


def files() -> dict[str, onnx.ModelProto]:
    """Return the models that all of them serve; only ours can tell of the contract."""
    return {
        "doubling": models.with_contract(models.doubling(), models.doubling_contract()),
        "undescribed": models.doubling(),
        "wide": models.mlp((4, 8, 3)),
        "simple": models.simple(),
        "lookup": models.lookup(),
        "counting": models.counting(),
        "slow": models.slow(),
    }


@contextmanager
def _isotherm(repository: Path) -> Iterator[str]:
    with serving(repository, "--model-control", "explicit", "--load-model", "*") as server:
        yield server.address


@contextmanager
def _triton(repository: Path) -> Iterator[str]:
    behind = repository / "triton"
    for name, model in files().items():
        # Without its dynamic batching: what runs together has come together.
        config = triton.configuration(name, model)
        triton.publish(behind, config, model.SerializeToString())
    flags = ("--model-control-mode", "explicit", "--load-model", "*")
    with triton.triton(behind, flags=flags) as (address, _):
        yield address


ISOTHERM = Peer(
    "isotherm",
    _isotherm,
    versions=True,
    config=True,
    statistics=True,
    index=True,
    control=True,
    ours=True,
)
TRITON = Peer(
    "triton",
    _triton,
    versions=True,
    config=True,
    statistics=True,
    index=True,
    control=True,
    # Ours makes several batches of them.
    too_large="batch-size must be <= 1024",
)
MLSERVER = Peer(
    "mlserver",
    mlserver.mlserver,
    describes=False,
    versions=True,
    index=True,
    control=True,
    # It leaves gRPC's limit as it is.
    too_large="larger than max",
)
KSERVE = Peer("kserve", kserve.kserve, describes=False)
