"""What the server's parts are given here: a loop driven by hand, callers, small models."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from isotherm.server.costs import Cost
from isotherm.server.loader import Model
from isotherm.server.model_counters import ModelCounters
from isotherm.server.placement import Placement
from isotherm.server.providers import ON_CPU
from isotherm.server.session import Session
from isotherm.server.transport.call import Metadata, StatusCode
from isotherm.v1 import contract as contracts

# When batches are begun that need no real moment, as perf_counter_ns().
STARTED_NS = 1_000_000_000_000


class FakeLoop:
    """A loop whose callbacks run when the test says so."""

    def __init__(self) -> None:
        self.deferred: list[Callable[[], None]] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def defer(self, callback: Callable[[], None]) -> None:
        self.deferred.append(callback)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        self.timers.append((delay_s, callback))

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        self.posted.put(callback)

    def run_deferred(self) -> None:
        """Fall idle once: run what was deferred so far."""
        deferred, self.deferred = self.deferred, []
        for callback in deferred:
            callback()

    def run_timers(self) -> None:
        """Let every timer that was set so far be due."""
        timers, self.timers = self.timers, []
        for _, callback in timers:
            callback()

    def run_posted(self) -> None:
        """Wait for a callback from another thread, and run it."""
        self.posted.get(timeout=30)()


@dataclass(eq=False)
class FakeCall:
    """A unary or streaming call that remembers what was done to it."""

    path: str = "/service/Method"
    deadline: float | None = None
    cancelled: bool = False
    held: bool = False
    sent: list[bytes] = field(default_factory=list)
    status: tuple[StatusCode, str, Metadata] | None = None

    def __post_init__(self) -> None:
        self.on_message: Callable[[bytes], None] = lambda _message: None
        self.on_half_close: Callable[[], None] = lambda: None
        self.on_close: Callable[[], None] = lambda: None

    def reply(self, message: bytes) -> None:
        if self.status is None:
            self.sent.append(message)
            self.status = StatusCode.OK, "", ()

    def send(self, message: bytes) -> None:
        if self.status is None:
            self.sent.append(message)

    def hold(self) -> None:
        self.held = True

    def resume(self) -> None:
        self.held = False

    def finish(self) -> None:
        self.fail(StatusCode.OK, "")

    def fail(self, code: StatusCode, details: str, metadata: Metadata = ()) -> None:
        if self.status is None:
            self.status = code, details, metadata

    @property
    def code(self) -> StatusCode | None:
        """How the call ended; None while it is open."""
        return None if self.status is None else self.status[0]

    @property
    def details(self) -> str:
        """The error's text."""
        return "" if self.status is None else self.status[1]


def session(model: onnx.ModelProto) -> Session:
    """Load a model on the CPU."""
    return Session(model.SerializeToString(), Path(), ON_CPU)


def served(model: onnx.ModelProto, name: str = "model", **changes: Any) -> Model:
    """Return a model as the loader does, without measuring it."""
    loaded = session(model)
    contract_json = loaded.metadata.get(contracts.METADATA_KEY, "")
    values: dict[str, Any] = {
        "name": name,
        "version": 1,
        "contract": contracts.loads(contract_json) if contract_json else None,
        "contract_json": contract_json,
        "placement": Placement(provider="cpu", session=loaded, host=Cost(base_s=0.0, row_s=0.0)),
        "sha256": "0123456789abcdef",
        "load_ns": 1_500_000_000,
    }
    return Model(**(values | changes))


def shapes(arrays: Sequence[Any]) -> list[tuple[int, ...]]:
    """Return the arrays' shapes."""
    return [array.shape for array in arrays]


def executed(
    model: ModelCounters, rows: int, assemble_ns: int, run_ns: int, encode_ns: int
) -> None:
    """Count one execution with all that is known of it in the end."""
    model.executed(rows)
    model.executed_in(rows, assemble_ns, run_ns, encode_ns)


def succeeded(
    model: ModelCounters, queue_ns: Sequence[int], assemble_ns: int, run_ns: int, encode_ns: int
) -> None:
    """Count the requests of one batch, if any, with all that is known of them in the end."""
    if not queue_ns:
        return
    model.answered(len(queue_ns))
    model.answered_in(
        [STARTED_NS - each_ns for each_ns in queue_ns], STARTED_NS, assemble_ns, run_ns, encode_ns
    )
