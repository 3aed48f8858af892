"""grpc.health.v1, with upstream's own stubs, as Kubernetes and balancers ask it."""

from __future__ import annotations

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

SERVING = health_pb2.HealthCheckResponse.SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


@pytest.mark.parametrize("service", ["", "liveness", "doubling", "mlp"])
def test_the_server_liveness_and_every_model_are_serving(
    channel: grpc.Channel, service: str
) -> None:
    """Probes ask by these names."""
    stub = health_pb2_grpc.HealthStub(channel)

    answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)

    assert SERVING == answer.status


def test_an_unknown_service_is_not_found(channel: grpc.Channel) -> None:
    """The health protocol asks for that code."""
    stub = health_pb2_grpc.HealthStub(channel)

    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=10)

    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(("service", "status"), [("", SERVING), ("nobody", SERVICE_UNKNOWN)])
def test_a_watch_first_tells_the_present_status(
    channel: grpc.Channel, service: str, status: int
) -> None:
    """Watching an unknown service is no error: it may come."""
    stub = health_pb2_grpc.HealthStub(channel)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=service), timeout=10)

    first = next(iter(watch))
    watch.cancel()

    assert status == first.status
