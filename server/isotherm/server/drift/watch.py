"""The supervisor's side: what comes through the rings, folded into one tally a model."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from numpy.typing import NDArray

from isotherm.server.counters import Block
from isotherm.server.drift.reference import Reference
from isotherm.server.drift.report import Report, report
from isotherm.server.drift.ring import Reader, Records, Ring, Text
from isotherm.server.drift.tally import Tally
from isotherm.server.layout import ModelState, WorkerState
from isotherm.server.windows import Window

_log = logging.getLogger(__name__)

# Of one model, over all workers. More would tell nothing more: after one second the noise of the
# PSI of ten bins is a twentieth of what is called drift.
ROWS_PER_S: Final = 2048
# Often enough that no ring is full before it is read, or before fewer rows are asked for.
FOLD_S: Final = 0.25
# What a worker has published is visible by then, however late its processor is with its writes.
_SETTLE_S: Final = 0.001
_STRIDE_S: Final = 0.2


class _Watched:
    """One model version: its tally, its window, and how many of its rows are wanted."""

    def __init__(self, reference: Reference, window_s: float) -> None:
        self.tally = Tally(reference)
        self.grown: NDArray[Any] = self.tally.totals
        self._window = Window(window_s)
        self._seen: dict[tuple[int, int], int] = {}
        self._at_s = time.monotonic()

    def slide(self, now_s: float) -> None:
        """Move the window on."""
        self.grown = self._window.add(now_s, self.tally.totals)

    def stride(self, seen: dict[tuple[int, int], int], now_s: float) -> int | None:
        """Return of how many rows one is wanted, by how many came by; None where it is too soon.

        `seen` holds them by ring and number. The same stride for all workers: otherwise the callers
        of one that has little to do would count for more.
        """
        passed_s = now_s - self._at_s
        if passed_s < _STRIDE_S:
            return None
        # A worker that is new here begins with rows of before: nobody knows how long they took.
        known = [key for key in seen if key in self._seen]
        came = sum(max(0, seen[key] - self._seen[key]) for key in known)
        self._seen, self._at_s = seen, now_s
        return max(1, -(-came // max(1, int(ROWS_PER_S * passed_s))))


class Watch:
    """Folds what workers write, until it is closed; every method may be called on any thread."""

    def __init__(self, blocks: Sequence[Block], window_s: float) -> None:
        """Make a ring for each worker, whose block has the same place; none for a window of 0."""
        self._rings = [Ring.create() for _ in blocks] if window_s else []
        self._readers = [Reader(ring) for ring in self._rings]
        self._blocks = blocks
        self._window_s = window_s
        self._lock = threading.Lock()
        self._models: dict[tuple[str, int], _Watched] = {}
        # Which model a number in a ring means, by (ring, number).
        self._numbers: dict[tuple[int, int], _Watched] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drift", daemon=True)

    def ring(self, slot: int) -> Ring | None:
        """Return the ring that a worker writes into; None where nothing is watched."""
        return self._rings[slot] if self._rings else None

    def start(self) -> None:
        """Begin to fold, if there is anything to watch."""
        if self._rings:
            self._thread.start()

    def close(self) -> None:
        """Stop folding."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()

    def fold(self) -> None:
        """Take in what the workers have written so far."""
        with self._lock:
            waiting = [slot for slot, reader in enumerate(self._readers) if reader.look()]
            if waiting:
                time.sleep(_SETTLE_S)
            for slot in waiting:
                self._read(slot)
            now_s = time.monotonic()
            for model in self._models.values():
                model.slide(now_s)
                self._ask(model, now_s)

    def reports(self) -> list[Report]:
        """Return what is known of every model version now, in the order they were first seen."""
        self.fold()
        with self._lock:
            self._forget()
            return [
                report(model.tally.reference, model.tally.totals, model.grown)
                for model in self._models.values()
            ]

    def _run(self) -> None:
        while not self._closed.wait(FOLD_S):
            try:
                self.fold()
            except Exception:  # noqa: BLE001  one bad look must not end all others
                _log.exception("this is a bug: drift could not be computed")

    def _read(self, slot: int) -> None:
        try:
            for record in self._readers[slot].read():
                if isinstance(record, Text):
                    self._introduce(slot, record)
                else:
                    self._add(slot, record)
        except ValueError as error:
            _log.warning("worker %d: rows are left out of the drift metrics: %s", slot, error)

    def _introduce(self, slot: int, said: Text) -> None:
        reference = Reference.from_json(said.text)
        key = reference.name, reference.version
        model = self._models.get(key)
        if model is None or model.tally.reference != reference:
            model = _Watched(reference, self._window_s)
            self._models[key] = model
            if reference.unwatched:
                _log.warning(
                    "model %s version %d: the first %d columns are watched for drift, %d are not",
                    *key,
                    len(reference.columns),
                    reference.unwatched,
                )
        self._numbers[slot, said.number] = model

    def _add(self, slot: int, records: Records) -> None:
        model = self._numbers.get((slot, records.number))
        if model is None:
            msg = f"no model has the number {records.number}"
            raise ValueError(msg)
        reference = model.tally.reference
        if records.refused:
            model.tally.add_refused(records.table(reference.features, 0))
        else:
            model.tally.add(records.table(reference.features, reference.predictions))

    def _ask(self, model: _Watched, now_s: float) -> None:
        numbers = [key for key, known in self._numbers.items() if known is model]
        seen = {(slot, number): self._readers[slot].seen(number) for slot, number in numbers}
        stride = model.stride(seen, now_s)
        if stride is not None:
            for slot, number in numbers:
                self._readers[slot].want(number, stride)

    def _forget(self) -> None:
        """Let go of versions that no worker has any more."""
        serving = [block for block in self._blocks if block.state is WorkerState.SERVING]
        # A worker that starts again will have its models again.
        if not serving or not self._models:
            return
        known = {
            (counters.name, counters.version)
            for block in serving
            for counters in block.models()
            if counters.state is not ModelState.UNKNOWN
        }
        gone = [key for key in self._models if key not in known]
        for key in gone:
            model = self._models.pop(key)
            self._numbers = {k: other for k, other in self._numbers.items() if other is not model}
