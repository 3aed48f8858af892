"""From a graph to a trace: exemplars of a server that traces, asked of a real Prometheus."""

import sys
import time
from typing import Any

import grpc
import pytest

from tests.deploy.observability.prometheus import Prometheus, command, configuration
from tests.deploy.places import MODELS
from tests.deploy.processes import eventually, running, tool
from tests.deploy.server import SERVICE, Address, Caller, wait_until_ready
from tests.support.otlp import receiving
from tests.support.ports import free_port

pytestmark = pytest.mark.slow

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
FAMILY = "isotherm_request_duration_seconds_bucket"


def test_prometheus_knows_the_trace_of_a_request(tmp_path):
    """With its value and time; the span of the same trace is at the receiver."""
    program = tool("prometheus", "Debian's prometheus")
    address, prometheus = Address(free_port(), free_port()), Prometheus(free_port())
    config = configuration(tmp_path, address.metrics_port)
    watch = [*command(program, config, prometheus.port), "--enable-feature=exemplar-storage"]
    began = time.time()
    with receiving() as receiver:
        serve = [sys.executable, "-m", "isotherm.server", str(MODELS), "--vetting", "off"]
        serve += ["--grpc-port", str(address.grpc_port)]
        serve += ["--metrics-port", str(address.metrics_port)]
        serve += ["--tracing-endpoint", receiver.url, "--tracing-share", "0"]
        with running(serve, tmp_path / "server.log"), running(watch, tmp_path / "prometheus.log"):
            wait_until_ready(address, within_s=60)
            _call(address)
            found = eventually(lambda: _exemplars(prometheus, began), what="an exemplar")

    (exemplar,) = found
    assert exemplar["labels"] == {"trace_id": TRACE}
    assert 0 < float(exemplar["value"]) < 10
    assert began - 1 < float(exemplar["timestamp"]) < time.time() + 1
    assert TRACE in {span.trace for span in receiver.spans}


def _call(address):
    with grpc.insecure_channel(address.target) as channel:
        request = Caller(channel).request(1)
        infer: Any = channel.unary_unary(f"{SERVICE}/ModelInfer")
        traceparent = (("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"),)
        infer(request.SerializeToString(), metadata=traceparent, timeout=10)


def _exemplars(prometheus, began):
    answer = prometheus.get(
        "query_exemplars", query=FAMILY, start=str(began - 60), end=str(time.time() + 60)
    )
    return [exemplar for series in answer for exemplar in series["exemplars"]]
