"""All that a run has measured, as it is kept in JSON and rendered later."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.page import machine
from tests.bench.peers.limit import Limit
from tests.bench.peers.measure import Cell, Start
from tests.bench.peers.peer import Peer


@dataclass(frozen=True, slots=True)
class About:
    """What is said of a server beside its figures."""

    family: str
    protocol: str
    settings: str
    distribution: str
    version: str
    installed_bytes: int


@dataclass(slots=True)
class Record:
    """A run."""

    rounds: int
    machine: str
    servers: dict[str, About] = field(default_factory=dict)
    limits: list[Limit] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    @classmethod
    def begin(cls, rounds: int) -> Record:
        """Return an empty one."""
        return cls(rounds, machine())

    @classmethod
    def read(cls, file: Path) -> Record:
        """Return what was written."""
        kept: dict[str, Any] = json.loads(file.read_text())
        return cls(
            rounds=kept["rounds"],
            machine=kept["machine"],
            servers={name: About(**about) for name, about in kept["servers"].items()},
            limits=[Limit(**limit) for limit in kept["limits"]],
            cells=[Cell(**cell) for cell in kept["cells"]],
            starts=[Start(**start) for start in kept["starts"]],
            left_out=kept["left_out"],
        )

    def write(self, file: Path) -> None:
        """Keep it."""
        file.write_text(json.dumps(asdict(self), indent=1))

    def add(self, peer: Peer) -> None:
        """Make the peer's environment; say what is in it."""
        packages = next(peer.python().parent.parent.glob("lib/python*/site-packages"))
        (info,) = packages.glob(f"{peer.distribution.replace('-', '_')}-*.dist-info")
        self.servers[peer.name] = About(
            family=peer.family,
            protocol=peer.wire.title,
            settings=peer.settings,
            distribution=peer.distribution,
            version=info.name.removesuffix(".dist-info").rpartition("-")[2],
            installed_bytes=installed_bytes(packages),
        )


def installed_bytes(packages: Path) -> int:
    """Return what an environment's packages take on the disk, without its installer's."""
    tools = ("pip", "setuptools", "pkg_resources", "_distutils_hack")
    return sum(
        file.lstat().st_blocks * 512
        for entry in packages.iterdir()
        if entry.name.partition("-")[0] not in tools
        for file in (entry, *entry.rglob("*"))
    )
