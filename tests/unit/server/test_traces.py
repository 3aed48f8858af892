"""Which calls are followed, and their spans, with the loop driven by hand and a real receiver."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from isotherm.server import exemplars
from isotherm.server.config import BatchingConfig, ServerConfig, TracingConfig
from isotherm.server.counters import Block
from isotherm.server.errors import ConfigError
from isotherm.server.loader import Loader
from isotherm.server.model_config import ModelSettings
from isotherm.server.repository import Change, Repository
from isotherm.server.service.inference import InferenceService
from isotherm.server.service.streaming import StreamingService
from isotherm.server.service.traced_call import TracedCall
from isotherm.server.service.traces import Traces, open_traces
from isotherm.server.trace_context import parse
from isotherm.server.transport.call import Metadata, StatusCode, Stream, Unary
from tests.support import models
from tests.support.hostile import TRUSTED
from tests.support.otlp import Receiver, receiving
from tests.support.rpc import infer_request
from tests.unit.server.fakes import FakeCall, FakeLoop

INFER = "inference.GRPCInferenceService/ModelInfer"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SAMPLED: Metadata = (("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"),)
UNSAMPLED: Metadata = (("traceparent", f"00-{TRACE}-00f067aa0ba902b7-00"),)


class Traced:
    """The service over a model that doubles, behind the gate of traces."""

    def __init__(self, folder: Path, receiver: Receiver, share: float) -> None:
        models.publish(folder, "doubling", models.doubling())
        self.receiver = receiver
        traces = open_traces(TracingConfig(endpoint=receiver.url, share=share), 0)
        assert traces is not None
        self.traces: Traces = traces
        self.loop = FakeLoop()
        self.block = Block.create([])
        batching = BatchingConfig()
        repository = Repository(folder, ModelSettings(batching=batching))
        loader = Loader(ServerConfig(repository=folder, provider="cpu", vetting=TRUSTED))
        self.service = InferenceService(repository, self.loop, self.block, traces=traces)
        for entry in repository.load(loader):
            assert entry.model is not None
            self.service.apply(Change(entry.name, (entry,), added=(entry.model,)))
        self.gate = traces.unary(self.service.infer)
        self.streams = traces.stream(StreamingService(self.service).open)

    def send(self, metadata: Metadata = (), call: FakeCall | None = None) -> FakeCall:
        """Make a call that waits for its batch."""
        call = call or FakeCall(path=f"/{INFER}")
        request = infer_request("doubling", x=np.ones((1, 1), np.float32))
        method = self.gate.choose(metadata)
        assert isinstance(method, Unary)
        method.handle(call, request.SerializeToString())
        return call

    def finish(self) -> list[tuple[str, int]]:
        """Answer what waits; return the spans of calls: their traces and codes."""
        self.loop.run_deferred()
        self.traces.close(10)
        return [
            (span.trace, int(span.attributes["rpc.grpc.status_code"]))
            for span in self.receiver.named(INFER)
        ]


@pytest.fixture(name="receiver")
def _receiver() -> Iterator[Receiver]:
    """Who receives spans."""
    with receiving() as receiver:
        yield receiver


def test_without_an_endpoint_nothing_is_followed():
    """Nor is there a gate that would look at metadata."""
    assert open_traces(TracingConfig(), 0) is None


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_share_of_the_calls_without_a_trace_begins_one(
    tmp_path: Path, receiver: Receiver, share: float
):
    """To every one its own."""
    traced = Traced(tmp_path, receiver, share)
    calls = [traced.send() for _ in range(400)]
    spans = traced.finish()

    assert {call.code for call in calls} == {StatusCode.OK}
    assert len({trace for trace, _ in spans}) == len(spans) == pytest.approx(400 * share, abs=60)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_caller_decides_about_its_own_trace(tmp_path: Path, receiver: Receiver, share: float):
    """Whatever the share is; a call that is not followed is the transport's own."""
    traced = Traced(tmp_path, receiver, share)
    traced.send(UNSAMPLED)
    traced.send(SAMPLED)

    assert traced.gate.choose(UNSAMPLED) is traced.gate.choose(UNSAMPLED)
    assert traced.finish() == [(TRACE, 0)]


@pytest.mark.parametrize(
    ("metadata", "share", "followed"),
    [((), 0.0, False), ((), 1.0, True), (SAMPLED, 0.0, True), (UNSAMPLED, 1.0, False)],
)
def test_a_stream_is_followed_as_its_calls_would_be(
    tmp_path: Path, receiver: Receiver, metadata: Metadata, share: float, followed: bool
):
    """Each of its requests."""
    traced = Traced(tmp_path, receiver, share)
    stream = FakeCall(path="/inference.GRPCInferenceService/ModelStreamInfer")
    method = traced.streams.choose(metadata)
    assert isinstance(method, Stream)
    method.open(stream)
    for _ in range(3):
        request = infer_request("doubling", x=np.ones((1, 1), np.float32))
        stream.on_message(request.SerializeToString())
    traced.finish()

    assert len(stream.sent) == 3
    assert len(receiver.named("inference.GRPCInferenceService/ModelStreamInfer")) == 3 * followed


@pytest.mark.parametrize(("deadline", "code"), [(None, 1), (1.0, 4)])
def test_a_caller_that_has_gone_meanwhile_is_in_its_span(
    tmp_path: Path, receiver: Receiver, deadline: float | None, code: int
):
    """Though an answer was written for it: cancelled, or its deadline had passed."""
    traced = Traced(tmp_path, receiver, 0)
    inner = FakeCall(path=f"/{INFER}", cancelled=True, deadline=deadline)
    ended: list[tuple[int, str]] = []
    origin = parse(SAMPLED)
    assert origin is not None
    call = TracedCall(
        inner, origin, time.perf_counter_ns(), lambda call, text: ended.append((call.code, text))
    )
    call.reply(b"late")
    call.fail(StatusCode.INTERNAL, "again")

    assert ended == [(code, "the caller has gone")]
    assert call.answered
    assert inner.sent == [b"late"]
    assert traced.finish() == []


def test_a_call_that_waits_sees_its_caller_go(tmp_path: Path, receiver: Receiver):
    """And has a span that says so, without a batch."""
    traced = Traced(tmp_path, receiver, 0)
    call = traced.send(SAMPLED)
    call.cancelled = True

    assert traced.finish() == [(TRACE, int(StatusCode.CANCELLED))]
    assert receiver.named("batch") == []
    assert receiver.named("run") == []


@pytest.mark.parametrize("state", ["=,;", "a=1,a=2", ",".join(f"k{n}=v" for n in range(40))])
def test_a_state_that_cannot_be_read_costs_neither_the_span_nor_a_line_in_the_log(
    tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture, state: str
):
    """Callers write it."""
    traced = Traced(tmp_path, receiver, 0)
    traced.send((*SAMPLED, ("tracestate", state)))

    assert traced.finish() == [(TRACE, 0)]
    assert [record.message for record in caplog.records if record.name[:4] == "open"] == []


def test_a_traced_request_is_an_exemplar(tmp_path: Path, receiver: Receiver):
    """One that is not traced is none."""
    traced = Traced(tmp_path, receiver, 0)
    traced.send()
    traced.send(SAMPLED)
    traced.finish()

    (exemplar,) = filter(None, exemplars.read(traced.block.open_model("doubling", 1).words))
    assert exemplar.trace_id == TRACE
    assert 0 < exemplar.seconds < 30


def test_a_setting_that_cannot_be_met_is_an_error(monkeypatch: pytest.MonkeyPatch):
    """With the remedy."""
    monkeypatch.setitem(sys.modules, "isotherm.server.spans", None)
    with pytest.raises(ConfigError, match=r"pip install 'isotherm\[tracing\]'"):
        open_traces(TracingConfig(endpoint="http://127.0.0.1:4318"), 0)
