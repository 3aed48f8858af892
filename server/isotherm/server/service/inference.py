"""ModelInfer: a request in, a job in the model's queue, an answer out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from google.protobuf.message import DecodeError

from isotherm.server.batching import Batcher, Loop
from isotherm.server.config import BatchingConfig
from isotherm.server.counters import Block, ModelCounters
from isotherm.server.errors import (
    AbandonedError,
    ExecutionError,
    ExpiredError,
    InvalidRequestError,
    OverloadedError,
    QueueTimeoutError,
    RequestError,
)
from isotherm.server.execution import Job, Runner
from isotherm.server.layout import Rejection
from isotherm.server.loader import Model
from isotherm.server.repository import Repository
from isotherm.server.service.parameters import check_parameters
from isotherm.server.service.requests import RequestDecoder
from isotherm.server.service.responses import Answer, ResponseEncoder
from isotherm.server.service.status import fail, status_of
from isotherm.server.session import Array
from isotherm.server.transport.call import Call
from isotherm.v1 import open_inference_pb2 as pb

_REJECTIONS: Final = {
    AbandonedError: Rejection.CANCELLED,
    ExpiredError: Rejection.EXPIRED,
    OverloadedError: Rejection.QUEUE_FULL,
    QueueTimeoutError: Rejection.EXPIRED,
}


class Endpoint:
    """One model version as callers reach it: decoder, queue, encoder, counters."""

    def __init__(
        self, model: Model, loop: Loop, config: BatchingConfig, counters: ModelCounters
    ) -> None:
        self._decoder = RequestDecoder(model)
        self._encoder = ResponseEncoder(model)
        self._counters = counters
        runner = Runner(
            run=model.session.run, inline=model.cost.inline, batched=model.session.batched
        )
        self.batcher = Batcher(runner, self, loop, config, counters)

    def accept(
        self, call: Call, request: pb.ModelInferRequest, size_bytes: int, arrived_ns: int
    ) -> None:
        """Queue a request; end it at once when it is wrong or there is no room."""
        try:
            arrays, rows, key = self._decoder.decode(request)
            job = Job(
                arrays,
                rows,
                call,
                arrived_ns,
                key,
                Answer(call, rows, request.id),
                None,
                size_bytes,
            )
            if request.outputs:
                job.context = self._select(call, rows, request)
            if request.parameters:
                wait_s = check_parameters(request.parameters)
                job.expires_s = time.time() + wait_s if wait_s is not None else None
            self.batcher.submit(job)
        except RequestError as error:
            self._end(call, error, arrived_ns)

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

    def _end(self, call: Call, error: RequestError, arrived_ns: int) -> None:
        code = int(status_of(error))
        rejection = _REJECTIONS.get(type(error))
        if rejection is not None:
            self._counters.reject(rejection, code)
        elif isinstance(error, ExecutionError):
            self._counters.fail(code, time.perf_counter_ns() - arrived_ns)
        else:
            self._counters.refuse(code)
        fail(call, error)


class InferenceService:
    """Finds the endpoint of a request, whether it came alone or on a stream."""

    def __init__(self, repository: Repository, loop: Loop, config: BatchingConfig) -> None:
        self._repository = repository
        self._loop = loop
        self._config = config
        # By (name, version) as callers write them: "" is the newest version.
        self._endpoints: dict[tuple[str, str], Endpoint] = {}

    def add(self, model: Model, block: Block) -> None:
        """Serve a model version."""
        counters = block.open_model(model.name, model.version)
        counters.loaded(
            provider=model.provider,
            sha256=model.sha256,
            load_ns=model.load_ns,
            queue_limit_rows=self._config.max_queue_rows,
        )
        endpoint = Endpoint(model, self._loop, self._config, counters)
        self._endpoints[model.name, str(model.version)] = endpoint
        self._endpoints[model.name, ""] = endpoint

    def infer(self, call: Call, message: bytes) -> None:
        """Handle one ModelInfer call."""
        arrived_ns = time.perf_counter_ns()
        try:
            request = pb.ModelInferRequest.FromString(message)
        except DecodeError:
            fail(call, InvalidRequestError("the message is not a ModelInferRequest"))
            return
        self.submit(call, request, len(message), arrived_ns)

    def submit(
        self, call: Call, request: pb.ModelInferRequest, size_bytes: int, arrived_ns: int
    ) -> None:
        """Hand a request to its model; end the call when there is none."""
        endpoint = self._endpoints.get((request.model_name, request.model_version))
        if endpoint is not None:
            endpoint.accept(call, request, size_bytes, arrived_ns)
            return
        try:
            # A version may be written "01"; otherwise this raises what is wrong.
            model = self._repository.get(request.model_name, request.model_version)
        except RequestError as error:
            fail(call, error)
            return
        endpoint = self._endpoints[model.name, str(model.version)]
        endpoint.accept(call, request, size_bytes, arrived_ns)

    def drain(self) -> None:
        """Let no batch wait for company any more."""
        for endpoint in self._endpoints.values():
            endpoint.batcher.drain()

    def close(self) -> None:
        """End the executor threads. Call once no call is left."""
        for endpoint in set(self._endpoints.values()):
            endpoint.batcher.close()
