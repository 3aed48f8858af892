"""ModelInfer: a request in, a job in the model's queue, an answer out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from google.protobuf.message import DecodeError

from isotherm.server.access_log import AccessLog
from isotherm.server.batching import Batcher, Loop
from isotherm.server.counters import Block, ModelCounters
from isotherm.server.errors import (
    AbandonedError,
    ExecutionError,
    ExpiredError,
    HopelessError,
    InvalidRequestError,
    OverloadedError,
    QueueTimeoutError,
    RequestError,
)
from isotherm.server.execution import Batch, Job, Runner
from isotherm.server.layout import ModelState, Rejection
from isotherm.server.loader import Model
from isotherm.server.repository import Change, Repository
from isotherm.server.service.envelopes import Envelopes, Known, Raw, parse
from isotherm.server.service.parameters import check_parameters
from isotherm.server.service.requests import RequestDecoder
from isotherm.server.service.responses import Answer, ResponseEncoder
from isotherm.server.service.status import fail, status_of
from isotherm.server.session import Array
from isotherm.server.transport.call import Call
from isotherm.v1 import open_inference_pb2 as pb

_log = logging.getLogger(__name__)

# How often a retiring version is asked whether it has answered everything.
_RETIRE_POLL_S: Final = 0.02

_REJECTIONS: Final = {
    AbandonedError: Rejection.CANCELLED,
    ExpiredError: Rejection.EXPIRED,
    HopelessError: Rejection.HOPELESS,
    OverloadedError: Rejection.QUEUE_FULL,
    QueueTimeoutError: Rejection.EXPIRED,
}


class Endpoint:
    """One model version as callers reach it: decoder, queue, encoder, counters."""

    def __init__(
        self,
        model: Model,
        loop: Loop,
        counters: ModelCounters,
        access_log: AccessLog | None = None,
    ) -> None:
        self.model = model
        self._access_log = access_log
        self._loop = loop
        config = model.settings.batching
        self._queue_timeout_s = config.queue_timeout_us / 1e6
        self._decoder = RequestDecoder(model)
        self._encoder = ResponseEncoder(model)
        self._counters = counters
        runner = Runner(
            run=model.session.run,
            inline=model.cost.inline,
            batched=model.batched,
            seconds=model.cost.seconds if model.cost.known else None,
            bound=model.session.bound,
        )
        self.batcher = Batcher(runner, self, loop, config, counters)

    def accept(
        self,
        call: Call,
        request: pb.ModelInferRequest,
        raw: Raw,
        size_bytes: int,
        arrived_ns: int,
    ) -> None:
        """Queue a request; end it at once when it is wrong or there is no room."""
        try:
            arrays, rows, key = self._decoder.decode(request, raw)
            answer = (
                self._select(call, rows, request)
                if request.outputs
                else Answer(call, rows, request.id)
            )
            job = Job(arrays, rows, call, arrived_ns, key, answer, None, size_bytes)
            if request.parameters or self._queue_timeout_s:
                wait_s = check_parameters(request.parameters) or self._queue_timeout_s
                job.expires_s = time.time() + wait_s if wait_s else None
            self.batcher.submit(job)
        except RequestError as error:
            self._end(call, error, arrived_ns)

    def accept_known(self, call: Call, known: Known, message: bytes, arrived_ns: int) -> None:
        """Queue a request of whose like one was accepted before."""
        try:
            array = known.array(message)
            arrays, rows = (array,), known.shape[0]
            self._decoder.check(arrays)
            answer = Answer(call, rows, "")
            job = Job(arrays, rows, call, arrived_ns, None, answer, None, known.size_bytes)
            if self._queue_timeout_s:
                job.expires_s = time.time() + self._queue_timeout_s
            self.batcher.submit(job)
        except RequestError as error:
            self._end(call, error, arrived_ns)

    def plain(self, request: pb.ModelInferRequest, raw: Raw) -> Array | None:
        """Return the tensor of a request that holds one and asks for nothing special, else None."""
        if request.id or request.outputs or request.parameters:
            return None
        arrays = self._decoder.quick(request, raw)
        return arrays[0] if arrays is not None and len(arrays[0]) else None

    def _select(self, call: Call, rows: int, request: pb.ModelInferRequest) -> Answer:
        selected = self._decoder.select_outputs(request) or {}
        classes = tuple(selected.values())
        return Answer(call, rows, request.id, tuple(selected), classes if any(classes) else ())

    def respond(self, jobs: Sequence[Job], outputs: Sequence[Array]) -> None:
        """Answer every job of a batch with its rows of the outputs."""
        messages = self._encoder.encode(outputs, [job.context for job in jobs])
        for job, message in zip(jobs, messages, strict=True):
            job.context.call.reply(message)

    def refuse(self, job: Job, error: RequestError) -> None:
        """End one job with an error."""
        self._end(job.context.call, error, job.arrived_ns)

    def answered(self, batch: Batch, encode_ns: int) -> None:
        """Log a batch, where that is wanted."""
        if self._access_log is not None:
            self._access_log.answered(self.model.name, self.model.version, batch, encode_ns)

    def retire(self, retired: Callable[[], None]) -> None:
        """Answer what waits, take nothing new, then let the model go and say so."""
        self.batcher.drain()
        self._retire_when_idle(retired)

    def _retire_when_idle(self, retired: Callable[[], None]) -> None:
        if not self.batcher.idle:
            self._loop.call_later(_RETIRE_POLL_S, lambda: self._retire_when_idle(retired))
            return
        self.batcher.close()
        retired()

    def _end(self, call: Call, error: RequestError, arrived_ns: int) -> None:
        status = status_of(error)
        code = int(status)
        duration_ns = time.perf_counter_ns() - arrived_ns
        rejection = _REJECTIONS.get(type(error))
        if rejection is not None:
            self._counters.reject(rejection, code)
        elif isinstance(error, ExecutionError):
            self._counters.fail(code, duration_ns)
        else:
            self._counters.refuse(code)
        if self._access_log is not None:
            self._access_log.failed(
                self.model.name,
                self.model.version,
                status.name,
                str(error),
                duration_ns,
            )
        fail(call, error)


class InferenceService:
    """Finds the endpoint of a request, whether it came alone or on a stream."""

    def __init__(
        self,
        repository: Repository,
        loop: Loop,
        block: Block,
        access_log: AccessLog | None = None,
    ) -> None:
        self._repository = repository
        self._loop = loop
        self._block = block
        self._access_log = access_log
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
            counters = self._block.open_model(model.name, model.version)
            counters.loaded(
                provider=model.provider,
                sha256=model.sha256,
                load_ns=model.load_ns,
                queue_limit_rows=model.settings.batching.max_queue_rows,
            )
            endpoint = Endpoint(model, self._loop, counters, self._access_log)
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
            # Unless the same version was loaded again meanwhile, its series end here.
            if (name, str(version)) not in self._endpoints:
                self._block.open_model(name, version).reset_gauges()
            _log.info("model %s version %d is unloaded", name, version)

        endpoint.retire(retired)

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
        """End the executor threads. Call once no call is left."""
        for endpoint in {*self._endpoints.values(), *self._retiring}:
            endpoint.batcher.close()
