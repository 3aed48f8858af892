"""A receiver of OTLP over HTTP, which reads what it is sent as protobuf."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.support.server import eventually

PROTOBUF = "application/x-protobuf"


class Received(NamedTuple):
    """A span, with the attributes of its resource."""

    span: Span
    resource: dict[str, str | int]

    @property
    def name(self) -> str:
        """The span's name."""
        return self.span.name

    @property
    def attributes(self) -> dict[str, str | int]:
        """The span's own attributes."""
        return values(self.span.attributes)

    @property
    def trace(self) -> str:
        """The trace, in hexadecimal digits."""
        return self.span.trace_id.hex()

    @property
    def links(self) -> list[tuple[str, str]]:
        """Trace and span of each link, in hexadecimal digits."""
        return [(link.trace_id.hex(), link.span_id.hex()) for link in self.span.links]

    @property
    def identity(self) -> tuple[str, str]:
        """Trace and span, in hexadecimal digits, as links name them."""
        return self.trace, self.span.span_id.hex()

    @property
    def failed(self) -> bool:
        """Whether its status is an error."""
        return self.span.status.code == Status.STATUS_CODE_ERROR

    def lies_in(self, other: Received) -> bool:
        """Tell whether it begins and ends within another one."""
        mine, outer = self.span, other.span
        return (
            outer.start_time_unix_nano
            <= mine.start_time_unix_nano
            <= mine.end_time_unix_nano
            <= outer.end_time_unix_nano
        )


class Receiver:
    """What has been received so far."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[Received] = []
        self.refused: queue.SimpleQueue[str] = queue.SimpleQueue()

    def take(self, body: bytes) -> None:
        """Read one export."""
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = values(group.resource.attributes)
            for scope in group.scope_spans:
                self.spans += [Received(span, resource) for span in scope.spans]

    def named(self, name: str) -> list[Received]:
        """The spans of a name."""
        return [received for received in self.spans if received.name == name]

    def in_trace(self, trace: str, count: int) -> list[Received]:
        """The spans of a trace, once there are so many."""
        assert eventually(lambda: len(self._of(trace)) >= count), self.spans
        return self._of(trace)

    def _of(self, trace: str) -> list[Received]:
        return [received for received in self.spans if received.trace == trace]


def values(attributes: Iterable[KeyValue]) -> dict[str, str | int]:
    """Return attributes of text and whole numbers."""
    return {
        each.key: each.value.int_value
        if each.value.HasField("int_value")
        else each.value.string_value
        for each in attributes
    }


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Receive until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            good = self.path == "/v1/traces" and self.headers["Content-Type"] == PROTOBUF
            if good:
                receiver.take(body)
            else:
                receiver.refused.put(f"{self.path} {self.headers['Content-Type']}")
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200 if good else 400)
            self.send_header("Content-Type", PROTOBUF)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
