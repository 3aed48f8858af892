"""What was measured, as it goes through a JSON file."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(kw_only=True, slots=True)
class Looped:
    """A loop on batches of one size: medians over rounds, p99 over all runs."""

    rows_per_s: float
    run_ms: float
    p99_ms: float
    # Largest difference from the first contender's answers, relative to their largest value.
    difference: float


@dataclass(kw_only=True, slots=True)
class Served:
    """A server under one load.

    Attributes:
        rows: Of each request.
        in_flight: Requests at any time; 0 where they come at a rate of their own.
        rows_per_s: Answered.
        p99_ms: From when a request was due until its answer.
        by: What made the load.
        busiest_thread: CPU share of the server's busiest thread.
        server_cpus: CPUs that the server took in all; load_cpus: that the load took.
        device: Share of the time in which the device was busy; None where nobody tells.
    """

    rows: int
    in_flight: int
    rows_per_s: float
    p99_ms: float
    by: str
    busiest_thread: float
    server_cpus: float
    load_cpus: float
    device: float | None

    @property
    def limit(self) -> str:
        """What was busiest, in a few words."""
        device = "" if self.device is None else f", device {self.device:.0%}"
        return f"thread {self.busiest_thread:.0%}, load {self.load_cpus:.1f} CPUs{device}"


@dataclass(kw_only=True, slots=True)
class Cell:
    """All contenders on one network and batch size."""

    network: str
    batch: int
    loops: dict[str, Looped] = field(default_factory=dict)
    # Of requests as large as the batch; of requests of one row; at half the rate of the first.
    whole: Served | None = None
    single: Served | None = None
    half: Served | None = None
    # The first with several workers.
    several: Served | None = None

    def best(self) -> tuple[str, Looped] | None:
        """Return the fastest bare loop of ONNX Runtime and its figures."""
        bare = {name: loop for name, loop in self.loops.items() if not name.startswith("torch")}
        return max(bare.items(), key=lambda item: item[1].rows_per_s, default=None)


@dataclass(kw_only=True, slots=True)
class Trained:
    """The trainer's rows/s on a device, eager and with its step recorded; None: not to be had."""

    network: str
    batch: int
    eager: float | None
    recorded: float | None
    note: str = ""


@dataclass(kw_only=True, slots=True)
class Placed:
    """What a server with `--provider auto` says of a network that it has measured."""

    network: str
    provider: str
    break_even_rows: str
    note: str


@dataclass(kw_only=True, slots=True)
class Results:
    """Everything."""

    provider: str
    # Device, versions, processors: each a clause.
    machine: list[str]
    # Why there are no loops on CUDA; empty where there are.
    no_device: str = ""
    # The same of torch.
    no_torch: str = ""
    seconds: float = 0.0
    workers: int = 0
    rounds: int = 0
    cells: list[Cell] = field(default_factory=list)
    placed: list[Placed] = field(default_factory=list)
    trained: list[Trained] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    # What went wrong, in full sentences.
    failures: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        """Return them as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Restore what `to_json` wrote."""
        values: dict[str, Any] = json.loads(text)
        values["cells"] = [_cell(cell) for cell in values["cells"]]
        values["placed"] = [Placed(**one) for one in values["placed"]]
        values["trained"] = [Trained(**one) for one in values["trained"]]
        return cls(**values)


def _cell(values: dict[str, Any]) -> Cell:
    cell = Cell(**values)
    cell.loops = {name: Looped(**loop) for name, loop in values["loops"].items()}
    for name in ("whole", "single", "half", "several"):
        if values[name]:
            setattr(cell, name, Served(**values[name]))
    return cell
