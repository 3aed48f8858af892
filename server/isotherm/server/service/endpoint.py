"""A model version as callers reach it: a request in, a job in its queue, an answer out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final

from isotherm.server.access_log import AccessLog
from isotherm.server.batching import Batcher
from isotherm.server.drift.tap import Tap
from isotherm.server.errors import (
    DeviceLostError,
    ExecutionError,
    NonFiniteError,
    RequestError,
)
from isotherm.server.execution import Batch, Job, Runner
from isotherm.server.loader import Model
from isotherm.server.loop import Loop
from isotherm.server.model_counters import ModelCounters
from isotherm.server.service.envelopes import Known, Raw
from isotherm.server.service.parameters import check_parameters
from isotherm.server.service.requests import RequestDecoder
from isotherm.server.service.responses import Answer, ResponseEncoder
from isotherm.server.service.status import REJECTIONS, fail, status_of
from isotherm.server.service.traces import Traces
from isotherm.server.session import Array
from isotherm.server.trace_context import trace_id_of
from isotherm.server.transport.call import Call, ReplyAll, reply_each
from isotherm.v1 import open_inference_pb2 as pb

# How often a retiring version is asked whether it has answered everything.
_RETIRE_POLL_S: Final = 0.02


class Endpoint:
    """One model version as callers reach it: decoder, queue, encoder, counters."""

    def __init__(
        self,
        model: Model,
        loop: Loop,
        counters: ModelCounters,
        access_log: AccessLog | None = None,
        traces: Traces | None = None,
        tap: Tap | None = None,
        reply_all: ReplyAll = reply_each,
        lost: Callable[[DeviceLostError], None] = lambda _error: None,
    ) -> None:
        """`lost` is told when the device that the version runs on can be used no more."""
        self._reply_all = reply_all
        self.model = model
        self.tap = tap
        self._lost = lost
        self._access_log = access_log
        self._traces = traces
        self._loop = loop
        config = model.settings.batching
        self._queue_timeout_s = config.queue_timeout_us / 1e6
        self._decoder = RequestDecoder(model)
        self._encoder = ResponseEncoder(model)
        self._counters = counters
        runner = Runner(
            run=model.session.run,
            inline=model.placement.inline,
            batched=model.batched,
            seconds=model.placement.seconds if model.placement.known else None,
            bound=model.session.bound,
            watch=tap,
            lanes=model.lanes,
            on_device=model.placement.on_device,
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
        answers = [job.context for job in jobs]
        messages = self._encoder.encode(outputs, answers)
        self._reply_all([answer.call for answer in answers], messages)

    def refuse(self, job: Job, error: RequestError) -> None:
        """End one job with an error."""
        self._end(job.context.call, error, job.arrived_ns)

    def answered(self, batch: Batch, encode_ns: int) -> None:
        """Log a batch, where that is wanted."""
        if self._access_log is not None:
            self._access_log.answered(self.model.name, self.model.version, batch, encode_ns)

    def closed(self, batch: Batch) -> None:
        """Make spans of a batch, where calls are traced."""
        if self._traces is not None:
            self._traces.closed(batch, self.model.name, self.model.version, self._counters)

    def show_lent(self) -> None:
        """Let the metrics say how many buffers batches have."""
        if self.model.lanes:
            self._counters.lent(sum(lane.lent for lane in self.model.lanes))

    def lost(self, error: DeviceLostError) -> None:
        """Pass on that the device is lost."""
        self._lost(error)

    def close(self) -> list[Future[None]]:
        """End the version's threads, and let its device go: which is done when the futures are."""
        self.batcher.close()
        return self.model.close()

    def retire(self, retired: Callable[[], None]) -> None:
        """Answer what waits, take nothing new, then let the model go and say so."""
        self.batcher.drain()
        self._retire_when_idle(retired)

    def _retire_when_idle(self, retired: Callable[[], None]) -> None:
        if not self.batcher.idle:
            self._loop.call_later(_RETIRE_POLL_S, lambda: self._retire_when_idle(retired))
            return
        self.close()
        retired()

    def _end(self, call: Call, error: RequestError, arrived_ns: int) -> None:
        status = status_of(error)
        code = int(status)
        if self.tap is not None and isinstance(error, NonFiniteError):
            self.tap.refused(error.rows)
        duration_ns = time.perf_counter_ns() - arrived_ns
        rejection = REJECTIONS.get(type(error))
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
                trace_id_of(call),
            )
        if self._traces is not None:
            self._traces.name(call, self.model.name, self.model.version)
        fail(call, error)
