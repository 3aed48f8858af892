"""A server that doubles, unless a test says what happens to a call instead."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import grpc
import numpy as np

from isotherm.v1 import open_inference_pb2 as pb
from tests.support.relay import HOST

THREADS = 80


@dataclass
class Call:
    """One call of ModelInfer as the server sees it; `ended_s` is when its fate was sealed."""

    values: list[float]
    context: grpc.ServicerContext
    begun_s: float = field(default_factory=time.monotonic)
    ended_s: float = 0.0
    # Whether it ended before it was answered: its caller has gone.
    cancelled: threading.Event = field(default_factory=threading.Event)


Fate: TypeAlias = Callable[[Call], None]


def refused(
    code: grpc.StatusCode, *trailers: tuple[str, str], details: str = "as the test says"
) -> Fate:
    """End the call with a status."""

    def fate(call: Call) -> None:
        call.context.set_trailing_metadata(trailers)
        call.ended_s = time.monotonic()
        call.context.abort(code, details)

    return fate


def pushed_back(ms: str) -> Fate:
    """End the call as an overloaded server does that says when to come back."""
    return refused(grpc.StatusCode.RESOURCE_EXHAUSTED, ("grpc-retry-pushback-ms", ms))


def waiting_for(event: threading.Event) -> Fate:
    """Answer the call once the event is set, or its caller has gone."""

    def fate(call: Call) -> None:
        call.context.add_callback(event.set)
        assert event.wait(30)

    return fate


def answered(_call: Call) -> None:
    """Answer the call."""


class Scripted:
    """The server's state.

    Attributes:
        script: What happens to the next calls of ModelInfer, the first one first.
        otherwise: What happens to those after them.
        metadata: What happens to calls of ModelMetadata and ModelConfig.
        calls: The calls of ModelInfer so far.
        others: The calls of other methods so far.
    """

    def __init__(self) -> None:
        self.script: deque[Fate] = deque()
        self.otherwise: Fate = answered
        self.metadata: Fate = answered
        self.calls: list[Call] = []
        self.others: list[Call] = []
        self.address = ""

    def infer(
        self, request: pb.ModelInferRequest, context: grpc.ServicerContext
    ) -> pb.ModelInferResponse:
        """Double the rows, or do as the script says."""
        x = np.frombuffer(request.raw_input_contents[0], np.float32)
        call = self._noted(self.calls, x.tolist(), context)
        try:
            fate = self.script.popleft()
        except IndexError:
            fate = self.otherwise
        fate(call)
        call.ended_s = time.monotonic()
        answer = pb.ModelInferResponse(model_name=request.model_name, model_version="1")
        answer.outputs.add(name="y", datatype="FP32", shape=[len(x), 1])
        answer.raw_output_contents.append((2 * x).tobytes())
        return answer

    def describe(
        self, request: pb.ModelMetadataRequest, context: grpc.ServicerContext
    ) -> pb.ModelMetadataResponse:
        """Describe the model `doubling`, whatever its name."""
        self.metadata(self._noted(self.others, [], context))
        answer = pb.ModelMetadataResponse(name=request.name, versions=["1"], platform="scripted")
        answer.inputs.add(name="x", datatype="FP32", shape=[-1, 1])
        answer.outputs.add(name="y", datatype="FP32", shape=[-1, 1])
        return answer

    def configure(
        self, request: pb.ModelConfigRequest, context: grpc.ServicerContext
    ) -> pb.ModelConfigResponse:
        """Say that rows may be merged."""
        self.metadata(self._noted(self.others, [], context))
        return pb.ModelConfigResponse(config=pb.ModelConfig(name=request.name, max_batch_size=1024))

    def _noted(self, calls: list[Call], values: list[float], context: grpc.ServicerContext) -> Call:
        call = Call(values, context)
        # Called when the call is over, answered or not.
        context.add_callback(lambda: None if call.ended_s else call.cancelled.set())
        calls.append(call)
        return call


@contextmanager
def scripted() -> Iterator[Scripted]:
    """Run such a server until the block ends."""
    state = Scripted()
    behaviours: dict[str, tuple[Callable[..., Any], Any]] = {
        "ModelInfer": (state.infer, pb.ModelInferRequest),
        "ModelMetadata": (state.describe, pb.ModelMetadataRequest),
        "ModelConfig": (state.configure, pb.ModelConfigRequest),
    }
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        name: grpc.unary_unary_rpc_method_handler(
            behaviour,
            request_deserializer=request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        for name, (behaviour, request) in behaviours.items()
    }
    with ThreadPoolExecutor(THREADS) as pool:
        server = grpc.server(pool, options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),)
        )
        state.address = f"{HOST}:{server.add_insecure_port(f'{HOST}:0')}"
        server.start()
        try:
            yield state
        finally:
            server.stop(None).wait()
