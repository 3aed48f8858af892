"""`--tracing-endpoint`: what a real receiver gets of a real server, as docs/tracing.md says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import numpy as np
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider

from isotherm.client import AsyncClient, Client
from isotherm.v1 import open_inference_pb2 as pb
from tests.support import models
from tests.support.otlp import Received, Receiver, receiving
from tests.support.ports import free_port
from tests.support.rest import Rest, tensor
from tests.support.rpc import infer_request
from tests.support.server import Server, eventually, failing, serving

PAGE = (Path(__file__).parents[2] / "docs" / "tracing.md").read_text()
INFER = "inference.GRPCInferenceService/ModelInfer"
STREAM = "inference.GRPCInferenceService/ModelStreamInfer"
CALLER = "00f067aa0ba902b7"


class Traced(NamedTuple):
    """A server that traces, and who receives its spans."""

    server: Server
    receiver: Receiver
    channel: grpc.Channel
    rest: Rest

    def infer(self, request: pb.ModelInferRequest, traceparent: str | None = None) -> None:
        """Make one call."""
        metadata = () if traceparent is None else (("traceparent", traceparent),)
        method: Any = self.channel.unary_unary(f"/{INFER}")
        method(request.SerializeToString(), metadata=metadata, timeout=10)


@pytest.fixture(name="traced", scope="module")
def _traced(transport: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    """A server that begins no trace itself, and sends spans ten times a second."""
    repository = tmp_path_factory.mktemp("models")
    models.publish(repository, "doubling", models.doubling())
    models.publish(repository, "table", models.lookup())
    # It waits for five rows.
    models.publish(repository, "together", models.doubling())
    (repository / "together" / "config.pbtxt").write_text(
        "dynamic_batching { preferred_batch_size: [ 5 ] max_queue_delay_microseconds: 30000000 }"
    )
    port = free_port()
    os.environ["OTEL_BSP_SCHEDULE_DELAY"] = "100"
    try:
        with receiving() as receiver:
            flags = (
                *("--transport", transport, "--http-port", str(port), "--access-log", "1"),
                *("--tracing-endpoint", receiver.url, "--tracing-share", "0"),
                *("--log-format", "json"),
            )
            with (
                serving(repository, *flags) as server,
                grpc.insecure_channel(server.address) as channel,
            ):
                yield Traced(server, receiver, channel, Rest(port))
            assert receiver.refused.empty()
    finally:
        del os.environ["OTEL_BSP_SCHEDULE_DELAY"]


def trace_of(number: int) -> tuple[str, str]:
    """Return a trace, and the header of a caller in it whose own span is recorded."""
    trace = f"4bf92f3577b34da6a3ce929d0e0e{number:04x}"
    return trace, f"00-{trace}-{CALLER}-01"


def one(rows: int = 1, request_id: str = "", model: str = "doubling") -> pb.ModelInferRequest:
    """Return a request that can be answered."""
    request = infer_request(model, x=np.ones((rows, 1), np.float32))
    request.id = request_id
    return request


def by_name(spans: list[Received]) -> dict[str, Received]:
    """Return spans of different names."""
    named = {span.name: span for span in spans}
    assert len(named) == len(spans)
    return named


def test_a_call_in_a_callers_trace_is_a_part_of_it(traced: Traced) -> None:
    """Its span has the caller's for a parent, and its own parts within it."""
    trace, header = trace_of(1)
    traced.infer(one(rows=3, request_id="a"), header)

    spans = by_name(traced.receiver.in_trace(trace, 3))
    call, queued, ran = (spans.pop(name) for name in (INFER, "queue", "run"))

    assert spans == {}
    assert call.span.kind == Span.SPAN_KIND_SERVER
    assert call.span.parent_span_id.hex() == CALLER
    assert not call.failed
    assert call.attributes == {
        "rpc.system": "grpc",
        "rpc.service": "inference.GRPCInferenceService",
        "rpc.method": "ModelInfer",
        "rpc.grpc.status_code": 0,
        "isotherm.model": "doubling",
        "isotherm.version": 1,
        "isotherm.rows": 3,
        "isotherm.request_id": "a",
    }
    for part in (queued, ran):
        assert part.span.kind == Span.SPAN_KIND_INTERNAL
        assert part.span.parent_span_id == call.span.span_id
        assert part.lies_in(call)
    assert queued.span.end_time_unix_nano <= ran.span.start_time_unix_nano


def test_a_batch_and_its_requests_are_linked(traced: Traced) -> None:
    """Also with requests that are not traced, which it counts and does not link."""
    headers = dict(map(trace_of, range(10, 13)))
    method: Any = traced.channel.unary_unary(f"/{INFER}")
    message = one(model="together").SerializeToString()
    calls = [
        method.future(message, metadata=(("traceparent", header),), timeout=10)
        for header in headers.values()
    ]
    calls += [method.future(message, timeout=10) for _ in range(2)]
    for call in calls:
        call.result()

    members = [by_name(traced.receiver.in_trace(trace, 3)) for trace in headers]
    (batch,) = (
        span
        for span in traced.receiver.named("batch")
        if {trace for trace, _ in span.links} == {*headers}
    )

    assert {span[INFER].identity for span in members} == {*batch.links}
    assert all(span["run"].links == [batch.identity] for span in members)
    assert all(span["run"].lies_in(batch) for span in members)
    assert batch.trace not in headers
    assert batch.span.parent_span_id == b""
    assert batch.attributes == {
        "isotherm.model": "together",
        "isotherm.version": 1,
        "isotherm.batch.rows": 5,
        "isotherm.batch.requests": 5,
        "isotherm.batch.close_reason": "full",
    }


@pytest.mark.parametrize(
    "header",
    [
        f"00-4bf92f3577b34da6a3ce929d0e0eaaaa-{CALLER}-00",
        "00-4bf92f3577b34da6a3ce929d0e0eaaaa-xyz-01",
        None,
    ],
)
def test_a_call_that_its_caller_does_not_trace_is_not_traced(
    traced: Traced, header: str | None
) -> None:
    """Nor one that says nothing, where the share is nought."""
    traced.infer(one(request_id="untraced"), header)
    # A span that is sent later than any of that call would have been.
    trace, sampled = trace_of(30)
    traced.infer(one(), sampled)
    traced.receiver.in_trace(trace, 3)

    found = {span.attributes.get("isotherm.request_id") for span in traced.receiver.spans}
    assert "untraced" not in found


def test_a_call_that_fails_has_its_span(traced: Traced) -> None:
    """It is an error where the server is the cause, and none where the caller is."""
    trace, header = trace_of(40)
    for request in (
        pb.ModelInferRequest(model_name="doubling"),
        pb.ModelInferRequest(model_name="nobody"),
        infer_request("table", index=np.array([[99]])),
    ):
        with pytest.raises(grpc.RpcError):
            traced.infer(request, header)

    wrong, unknown, broken = traced.receiver.in_trace(trace, 3)

    codes = [span.attributes["rpc.grpc.status_code"] for span in (wrong, unknown, broken)]
    assert codes == [3, 5, 13]
    assert [span.failed for span in (wrong, unknown, broken)] == [False, False, True]
    assert [span.attributes.get("isotherm.model") for span in (wrong, unknown, broken)] == [
        *("doubling", None, "table")
    ]
    assert broken.span.status.message


def test_the_requests_of_a_stream_are_traced_one_by_one(traced: Traced) -> None:
    """Each a part of the trace of the stream's caller."""
    trace, header = trace_of(50)
    method: Any = traced.channel.stream_stream(
        f"/{STREAM}",
        request_serializer=pb.ModelInferRequest.SerializeToString,
        response_deserializer=pb.ModelStreamInferResponse.FromString,
    )
    answers = list(
        method(iter([one(), one(), one()]), metadata=(("traceparent", header),), timeout=10)
    )

    spans = traced.receiver.in_trace(trace, 9)
    calls = [span for span in spans if span.name == STREAM]

    assert len(answers) == len(calls) == 3
    assert {span.span.parent_span_id.hex() for span in calls} == {CALLER}
    for part in (span for span in spans if span.name != STREAM):
        (parent,) = (call for call in calls if call.span.span_id == part.span.parent_span_id)
        assert part.lies_in(parent)


def test_rest_passes_the_trace_on(traced: Traced) -> None:
    """The worker's span has the HTTP caller's for a parent, and its state."""
    trace, header = trace_of(60)
    content = {"inputs": [tensor("x", np.ones((1, 1), np.float32))]}
    reply = traced.rest.infer("doubling", content, traceparent=header, tracestate="vendor=7")

    call = by_name(traced.receiver.in_trace(trace, 3))[INFER]

    assert reply.status == 200
    assert call.span.parent_span_id.hex() == CALLER
    assert call.span.trace_state == "vendor=7"


def test_the_client_sends_the_current_span(traced: Traced) -> None:
    """Without being told to."""
    tracer = TracerProvider().get_tracer("test")
    with Client(traced.server.address) as client, tracer.start_as_current_span("outer") as outer:
        client.predict("doubling", [1.0])
    context = outer.get_span_context()

    call = by_name(traced.receiver.in_trace(f"{context.trace_id:032x}", 3))[INFER]

    assert call.span.parent_span_id.hex() == f"{context.span_id:016x}"


async def test_the_client_for_asyncio_does_so_too(traced: Traced) -> None:
    """The span that is current where it is called."""
    tracer = TracerProvider().get_tracer("test")
    async with AsyncClient(traced.server.address) as client:
        with tracer.start_as_current_span("outer") as outer:
            await client.predict("doubling", [1.0])
    context = outer.get_span_context()

    call = by_name(traced.receiver.in_trace(f"{context.trace_id:032x}", 3))[INFER]

    assert call.span.parent_span_id.hex() == f"{context.span_id:016x}"


def test_the_resource_says_who_it_was(traced: Traced) -> None:
    """The service and its version, the process and its worker."""
    trace, header = trace_of(70)
    traced.infer(one(), header)

    resource = traced.receiver.in_trace(trace, 1)[0].resource

    assert resource["service.name"] == "isotherm"
    assert resource["isotherm.worker"] == 0
    assert {"service.version", "service.instance.id", "process.pid"} <= {*resource}


def test_the_page_names_every_attribute(traced: Traced) -> None:
    """And none besides."""
    trace, header = trace_of(80)
    traced.infer(one(request_id="x"), header)
    traced.receiver.in_trace(trace, 3)
    assert eventually(lambda: bool(traced.receiver.named("batch")))
    found = {name for span in traced.receiver.spans for name in span.attributes}

    documented = {*re.findall(r"`((?:rpc|isotherm)\.[\w.]+)`", PAGE)} - {"isotherm.worker"}

    assert found == documented


def test_the_access_log_and_the_metrics_name_the_trace(traced: Traced) -> None:
    """In JSON the line is an object; the exemplar is only in the OpenMetrics format."""
    trace, header = trace_of(90)
    traced.infer(one(request_id="logged"), header)
    # Both are written when the answer is on its way.
    assert eventually(lambda: f'trace_id="{trace}"' in openmetrics(traced.server))
    assert eventually(lambda: '"id": "logged"' in traced.server.log)
    lines = [json.loads(line) for line in traced.server.log.splitlines()]
    (line,) = (line for line in lines if line.get("id") == "logged")

    assert line["trace_id"] == trace
    assert line["message"] == "answered"
    assert {"worker-0", "isotherm"} <= {line["process"] for line in lines}
    assert trace not in traced.server.get("/metrics")[1]


def openmetrics(server: Server) -> str:
    """Return what a Prometheus gets that asks for OpenMetrics, once it is proved to be that."""
    import urllib.request

    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    request = urllib.request.Request(
        f"http://127.0.0.1:{server.metrics_port}/metrics",
        headers={"Accept": "application/openmetrics-text; version=1.0.0"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        text: str = answer.read().decode()
    families = [*text_string_to_metric_families(text)]
    assert families
    assert "_created" not in text
    return text


def test_a_share_of_the_calls_begins_traces_and_a_stop_sends_the_last(
    tmp_path: Path, transport: str
) -> None:
    """Of all calls when the share is 1; nothing is lost that was answered before the stop."""
    models.publish(tmp_path, "doubling", models.doubling())
    with receiving() as receiver:
        flags = ("--tracing-endpoint", receiver.url, "--tracing-share", "1")
        with serving(tmp_path, *flags, "--transport", transport) as server:
            with grpc.insecure_channel(server.address) as channel:
                traced = Traced(server, receiver, channel, Rest(0))
                for _ in range(20):
                    traced.infer(one())
            status = server.stop()

    calls = receiver.named(INFER)
    assert status == 0
    assert len({call.trace for call in calls}) == len(calls) == 20
    assert {call.span.parent_span_id for call in calls} == {b""}


def test_a_receiver_that_is_not_there_costs_no_answer_and_no_stop(tmp_path: Path) -> None:
    """The log says what was lost, and the server ends within its grace."""
    models.publish(tmp_path, "doubling", models.doubling())
    flags = ("--tracing-endpoint", f"http://127.0.0.1:{free_port()}", "--tracing-share", "1")
    with serving(tmp_path, *flags, "--grace", "1") as server:
        with grpc.insecure_channel(server.address) as channel:
            Traced(server, Receiver(""), channel, Rest(0)).infer(one())
        status = server.stop()
        log = server.log

    assert status == 0
    assert re.search(r"WARNING worker-0 the last spans could not be sent to http\S+ in time", log)


def test_without_the_extra_the_server_says_what_to_install(tmp_path: Path) -> None:
    """It does not start without what it was asked for."""
    # A package of that name that holds nothing.
    empty = tmp_path / "packages" / "opentelemetry" / "__init__.py"
    empty.parent.mkdir(parents=True)
    empty.touch()
    models.publish(tmp_path / "models", "doubling", models.doubling())
    result = subprocess.run(
        [
            *(sys.executable, "-m", "isotherm.server", str(tmp_path / "models")),
            *("--grpc-port", "0", "--metrics-port", "0", "--vetting", "off"),
            *("--tracing-endpoint", "http://127.0.0.1:4318"),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "packages")},
    )

    assert result.returncode == 1
    assert result.stderr.endswith(
        "isotherm serve: --tracing-endpoint needs OpenTelemetry: pip install 'isotherm[tracing]'\n"
    )


@pytest.mark.parametrize(
    ("endpoint", "share", "reason"),
    [
        ("collector:4317", "1", "expected http://HOST:4318"),
        ("http://me:secret@collector:4318", "1", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("http://collector:4318", "2", "tracing_share is 2.0"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(
    tmp_path: Path, endpoint: str, share: str, reason: str
) -> None:
    """With what was expected, and without a password."""
    flags = ("--tracing-endpoint", endpoint, "--tracing-share", share)
    status, text = failing(tmp_path, *flags)

    assert status == 1
    assert reason in text
    assert "secret" not in text
