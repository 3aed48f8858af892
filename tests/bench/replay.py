"""Our own code on a request's way, replayed without a network: what each stage costs.

The service is the real one; the loop, and the callers, are the least that it can work with.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from isotherm.server.config import ServerConfig
from isotherm.server.counters import Block
from isotherm.server.execution import Batch
from isotherm.server.loader import Loader
from isotherm.server.model_config import ModelSettings
from isotherm.server.repository import Change, Repository
from isotherm.server.rpcs import COUNTED_RPCS
from isotherm.server.service.endpoint import Endpoint
from isotherm.server.service.inference import InferenceService
from tests.support.rpc import infer_request

REPEATS = 400
WARM_UP = 50


class _Loop:
    def __init__(self) -> None:
        self.deferred: list[Callable[[], None]] = []

    def defer(self, callback: Callable[[], None]) -> None:
        self.deferred.append(callback)

    def call_later(self, _delay_s: float, callback: Callable[[], None]) -> None:
        self.deferred.append(callback)

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        self.deferred.append(callback)


class _Caller:
    path = ""
    deadline = None
    cancelled = False

    def reply(self, message: bytes) -> None:
        """Take the answer."""

    def fail(self, _code: object, details: str, _metadata: object = ()) -> None:
        raise AssertionError(details)


class _Clock:
    """Adds up what a function takes, called through it."""

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function
        self.ns = 0

    def __call__(self, *arguments: object, **named: object) -> object:
        begin = time.perf_counter_ns()
        try:
            return self._function(*arguments, **named)
        finally:
            self.ns += time.perf_counter_ns() - begin


def stages(repository: Path, batch: int, rounds: int) -> dict[str, float]:
    """Return the microseconds that each stage takes of a one-row request in such a batch."""
    found = [_round(repository, batch) for _ in range(rounds)]
    return {stage: median(one[stage] for one in found) for stage in found[0]}


def _round(repository: Path, batch: int) -> dict[str, float]:
    loop = _Loop()
    service, endpoint = _service(repository, loop)
    message = infer_request("m", x=np.ones((1, 1), np.float32)).SerializeToString()
    runs: list[tuple[int, int]] = []
    respond, answered = _Clock(endpoint.respond), endpoint.answered

    def note(done: Batch, encode_ns: int) -> None:
        runs.append((done.assemble_ns, done.run_ns))
        answered(done, encode_ns)

    # What the batcher calls: its outcome is the endpoint.
    for name, function in (("respond", respond), ("answered", note)):
        setattr(endpoint, name, function)
    callers = [_Caller() for _ in range(batch)]
    arrive_ns = close_ns = 0
    for repeat in range(WARM_UP + REPEATS):
        # Until then everything was new.
        if repeat == WARM_UP:
            arrive_ns = close_ns = respond.ns = 0
            runs.clear()
            gc.collect()
            gc.freeze()
        begin = time.perf_counter_ns()
        for caller in callers:
            service.infer(caller, message)  # type: ignore[arg-type]
        arrive_ns += time.perf_counter_ns() - begin
        begin = time.perf_counter_ns()
        deferred, loop.deferred = loop.deferred, []
        for callback in deferred:
            callback()
        close_ns += time.perf_counter_ns() - begin
    service.close()
    assemble_ns, run_ns = (sum(column) for column in zip(*runs, strict=True))
    rest_ns = close_ns - respond.ns - assemble_ns - run_ns
    parts = {
        "decode, check, admit, queue": arrive_ns,
        "assemble the batch": assemble_ns,
        "the model's run": run_ns,
        "encode the answers": respond.ns,
        "close the batch, count": rest_ns,
    }
    return {name: ns / REPEATS / batch / 1000 for name, ns in parts.items()}


def _service(repository: Path, loop: _Loop) -> tuple[InferenceService, Endpoint]:
    config = ServerConfig(repository=repository, provider="cpu")
    versions = Repository(repository, ModelSettings.of(config))
    service = InferenceService(versions, loop, Block.create(COUNTED_RPCS))
    entries = tuple(versions.load(Loader(config)))
    added = tuple(entry.model for entry in entries if entry.model is not None)
    service.apply(Change("m", entries, added=added))
    return service, service._endpoints["m", ""]
