"""ModelStreamInfer: many requests and answers on one call. A bad request does not end it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from google.protobuf.message import DecodeError

from isotherm.server.service.envelopes import parse
from isotherm.server.service.inference import InferenceService
from isotherm.server.transport.call import Call, Metadata, StatusCode, Stream, StreamCall
from isotherm.v1 import open_inference_pb2 as pb
from isotherm.v1.wire import delimited

# ModelStreamInferResponse.infer_response, field 2.
_RESPONSE_TAG: Final = b"\x12"
# Requests of one stream that may wait for their answers; then its caller is held.
MAX_UNANSWERED: Final = 64
# Every request has one answer, which is its last: Triton's clients look for this.
_FINAL: Final = pb.ModelInferResponse(
    parameters={"triton_final_response": pb.InferParameter(bool_param=True)}
).SerializeToString()


class StreamingService:
    """Opens streams, and ends them when the server stops."""

    def __init__(self, inference: InferenceService) -> None:
        self._inference = inference
        self._streams: set[_InferStream] = set()
        self._closed = False

    def method(self) -> Stream:
        """Return the handler."""
        return Stream(self.open)

    def close(self) -> None:
        """Take no more requests; every stream ends once its answers are out."""
        self._closed = True
        for stream in tuple(self._streams):
            stream.stop()

    def open(self, call: StreamCall, follow: Callable[[Call], Call] | None = None) -> None:
        """Open a stream; `follow` may put a wrapper around each of its requests."""
        stream = _InferStream(call, self._inference, lambda: self._streams.discard(stream), follow)
        self._streams.add(stream)
        if self._closed:
            # It was on its way when the others were ended, and would hold the server's stop.
            stream.stop()


class _InferStream:
    """One stream: counts what is unanswered, so that it ends after the last answer."""

    def __init__(
        self,
        call: StreamCall,
        inference: InferenceService,
        closed: Callable[[], None],
        follow: Callable[[Call], Call] | None,
    ) -> None:
        self.call = call
        self._follow = follow
        self._inference = inference
        self._unanswered = 0
        # How the stream ends once everything is answered; None while it goes on.
        self._end: Callable[[], None] | None = None
        call.on_message = self._on_message
        call.on_half_close = self._on_half_close
        call.on_close = closed

    def stop(self) -> None:
        """End with UNAVAILABLE after the answers that are due."""
        self._end_with(lambda: self.call.fail(StatusCode.UNAVAILABLE, "the server is stopping"))

    def send(self, answer: pb.ModelStreamInferResponse | bytes) -> None:
        """Send one answer, and end the stream if it was the last that was due."""
        data = answer if isinstance(answer, bytes) else answer.SerializeToString()
        self.call.send(data)
        self._unanswered -= 1
        if self._unanswered == MAX_UNANSWERED // 2:
            self.call.resume()
        self._maybe_end()

    def _on_message(self, message: bytes) -> None:
        arrived_ns = time.perf_counter_ns()
        if self._end is not None:
            return
        self._unanswered += 1
        if self._unanswered >= MAX_UNANSWERED:
            self.call.hold()
        try:
            request, raw = parse(message)
        except DecodeError:
            error = "the message is not a ModelInferRequest"
            self.send(pb.ModelStreamInferResponse(error_message=error))
            return
        call: Call = _StreamedCall(self, request.id)
        if self._follow is not None:
            call = self._follow(call)
        self._inference.submit(call, request, raw, len(message), arrived_ns)

    def _on_half_close(self) -> None:
        self._end_with(self.call.finish)

    def _end_with(self, end: Callable[[], None]) -> None:
        self._end = self._end or end
        self._maybe_end()

    def _maybe_end(self) -> None:
        if self._end is not None and not self._unanswered:
            self._end()


class _StreamedCall(Call):
    """One request of a stream, as the queue sees callers."""

    def __init__(self, stream: _InferStream, request_id: str) -> None:
        self._stream = stream
        self._id = request_id
        self.path = stream.call.path
        self.deadline = stream.call.deadline
        self._ended = False

    @property
    def cancelled(self) -> bool:
        """Whether the stream's caller has gone."""
        return self._stream.call.cancelled

    def reply(self, message: bytes) -> None:
        """Send the answer on the stream."""
        if not self._ended:
            self._ended = True
            self._stream.send(delimited(_RESPONSE_TAG, message + _FINAL))

    def fail(self, code: StatusCode, details: str, metadata: Metadata = ()) -> None:
        """Send the error on the stream, under the request's id."""
        if not self._ended:
            self._ended = True
            answer = pb.ModelStreamInferResponse(error_message=details)
            answer.infer_response.id = self._id
            self._stream.send(answer)
