"""ModelInfer: finds the version of a request, and lets versions come and go."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import wait
from typing import Final

from google.protobuf.message import DecodeError

from isotherm.server.access_log import AccessLog
from isotherm.server.counters import Block
from isotherm.server.drift.tap import Taps
from isotherm.server.errors import DeviceLostError, InvalidRequestError, RequestError
from isotherm.server.layout import ModelState
from isotherm.server.loop import Loop
from isotherm.server.repository import Change, Repository
from isotherm.server.service.endpoint import Endpoint
from isotherm.server.service.envelopes import Envelopes, Raw, parse
from isotherm.server.service.status import fail
from isotherm.server.service.targets import show_sums
from isotherm.server.service.traces import Traces
from isotherm.server.transport.call import Call, ReplyAll, reply_each
from isotherm.v1 import open_inference_pb2 as pb

_log = logging.getLogger(__name__)

# How long devices may take to free what models had on them, before the process ends.
_DEVICE_S: Final = 5.0


class InferenceService:
    """Finds the endpoint of a request, whether it came alone or on a stream."""

    def __init__(
        self,
        repository: Repository,
        loop: Loop,
        block: Block,
        access_log: AccessLog | None = None,
        traces: Traces | None = None,
        taps: Taps | None = None,
        reply_all: ReplyAll = reply_each,
        lost: Callable[[DeviceLostError], None] = lambda _error: None,
    ) -> None:
        """`lost` is told when a device can be used no more."""
        self._reply_all = reply_all
        self._lost = lost
        self._repository = repository
        self._taps = taps
        self._loop = loop
        self._block = block
        self._access_log = access_log
        self._traces = traces
        # By (name, version) as callers write them: "" is the newest version.
        self._endpoints: dict[tuple[str, str], Endpoint] = {}
        self._retiring: set[Endpoint] = set()
        self._envelopes = Envelopes()

    def apply(self, change: Change) -> None:
        """Route callers to the versions that serve from now on; retire the others.

        Requests that wait in a retired version's queue are still answered by it.
        """
        self._envelopes.clear()
        replaced = [self._endpoints.pop((m.name, str(m.version))) for m in change.removed]
        for model in change.added:
            # The moment in between is none in which the server is not ready.
            counters = self._block.open_model(model.name, model.version, optional=True)
            counters.loaded(
                provider=model.provider,
                sha256=model.sha256,
                load_ns=model.load_ns,
                queue_limit_rows=model.settings.batching.max_queue_rows,
            )
            placed = model.placement
            counters.placed(
                break_even_rows=placed.break_even_rows or 0,
                device_bytes=placed.memory_bytes,
                graph_sizes=placed.graph_sizes,
                fell_back=placed.fell_back,
            )
            show_sums(model, counters)
            tap = self._taps.open(model) if self._taps is not None else None
            endpoint = Endpoint(
                model,
                self._loop,
                counters,
                self._access_log,
                self._traces,
                tap,
                self._reply_all,
                self._lost,
            )
            self._endpoints[model.name, str(model.version)] = endpoint
        self._route_newest(change.name)
        for endpoint in replaced:
            self._retire(endpoint)

    def _route_newest(self, name: str) -> None:
        versions = [int(version) for known, version in self._endpoints if known == name and version]
        if versions:
            self._endpoints[name, ""] = self._endpoints[name, str(max(versions))]
        else:
            self._endpoints.pop((name, ""), None)

    def _retire(self, endpoint: Endpoint) -> None:
        self._retiring.add(endpoint)
        name, version = endpoint.model.name, endpoint.model.version
        if (name, str(version)) not in self._endpoints:
            self._block.open_model(name, version).state = ModelState.UNLOADING

        def retired() -> None:
            self._retiring.discard(endpoint)
            if self._taps is not None and endpoint.tap is not None:
                self._taps.close(endpoint.tap)
            # Unless the same version was loaded again meanwhile, its series end here.
            others = {(other.model.name, other.model.version) for other in self._retiring}
            if (name, str(version)) not in self._endpoints and (name, version) not in others:
                self._block.open_model(name, version).reset_gauges()
            _log.info("model %s version %d is unloaded", name, version)

        endpoint.retire(retired)

    def show_waiting(self) -> None:
        """Let the metrics say what waits now, and how long; for the loop's regular beat."""
        for endpoint in self._endpoints.values():
            endpoint.batcher.show_waiting()
            endpoint.show_lent()

    def infer(self, call: Call, message: bytes) -> None:
        """Handle one ModelInfer call."""
        arrived_ns = time.perf_counter_ns()
        known = self._envelopes.find(message)
        if known is not None:
            # Whatever changes the endpoints makes the envelopes forgotten.
            self._endpoints[known.target].accept_known(call, known, message, arrived_ns)
            return
        try:
            request, raw = parse(message)
        except DecodeError:
            fail(call, InvalidRequestError("the message is not a ModelInferRequest"))
            return
        self.submit(call, request, raw, len(message), arrived_ns)
        self._learn(message, request, raw)

    def submit(
        self,
        call: Call,
        request: pb.ModelInferRequest,
        raw: Raw,
        size_bytes: int,
        arrived_ns: int,
    ) -> None:
        """Hand a request to its model; end the call when there is none."""
        endpoint = self._endpoints.get((request.model_name, request.model_version))
        if endpoint is None:
            try:
                # A version may be written "01"; otherwise this raises what is wrong.
                model = self._repository.get(request.model_name, request.model_version)
            except RequestError as error:
                fail(call, error)
                return
            endpoint = self._endpoints[model.name, str(model.version)]
        endpoint.accept(call, request, raw, size_bytes, arrived_ns)

    def _learn(self, message: bytes, request: pb.ModelInferRequest, raw: Raw) -> None:
        endpoint = self._endpoints.get((request.model_name, request.model_version))
        array = endpoint.plain(request, raw) if endpoint is not None else None
        if array is not None:
            self._envelopes.learn(message, request, array)

    def drain(self) -> None:
        """Let no batch wait for company any more."""
        for endpoint in self._endpoints.values():
            endpoint.batcher.drain()

    def close(self) -> None:
        """End the models' threads, and let their devices go. Call once no call is left."""
        endpoints = {*self._endpoints.values(), *self._retiring}
        # A process that ends while a device is at work may crash in the end.
        wait([one for endpoint in endpoints for one in endpoint.close()], _DEVICE_S)
