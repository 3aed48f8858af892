"""A worker's parts wired together, in this process, on both transports."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2

from isotherm.server.config import ServerConfig
from isotherm.server.control import Line
from isotherm.server.counters import Block
from isotherm.server.errors import LoadError, RepositoryError
from isotherm.server.layout import ModelState, WorkerState
from isotherm.server.rpcs import COUNTED_RPCS, PREFIX
from isotherm.server.service.health import CHECK, WATCH
from isotherm.server.totals import total
from isotherm.server.worker import Worker
from isotherm.v1 import open_inference_pb2 as pb
from tests.support import models
from tests.unit.server.serving import PATIENCE_S, Name


@pytest.fixture(name="name", params=["core", "aio"])
def _name(request: pytest.FixtureRequest) -> Name:
    """Each transport in turn."""
    name: Name = request.param
    return name


@contextmanager
def working(folder: Path, *blocks: Block, **settings: Any) -> Iterator[tuple[Worker, grpc.Channel]]:
    """Run the worker of the first block, and drain it when this one ends."""
    config = ServerConfig(repository=folder, provider="cpu", grace_s=5, **settings)
    line, supervisor = lines()
    worker = Worker(config, 0, blocks, line)
    port = worker.listen("127.0.0.1:0")
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            yield worker, channel
        finally:
            worker.drain_soon()
            thread.join(PATIENCE_S)
            # The worker froze everything alive: right for its process, not for this one.
            gc.unfreeze()
            line.close()
            supervisor.close()
    assert not thread.is_alive()


def lines() -> tuple[Line, Line]:
    """Return the two ends of a line."""
    ours, theirs = socket.socketpair()
    return Line(ours), Line(theirs)


def worker_of(folder: Path) -> Worker:
    """Return a worker that nobody talks to."""
    config = ServerConfig(repository=folder, provider="cpu")
    line, supervisor = lines()
    try:
        return Worker(config, 0, [Block.create(COUNTED_RPCS)], line)
    finally:
        line.close()
        supervisor.close()


def health(channel: grpc.Channel, service: str) -> int:
    """Return a service's health."""
    check = channel.unary_unary(
        CHECK,
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    status: int = check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE_S).status
    return status


def double(channel: grpc.Channel, value: float) -> float:
    """Call the model."""
    request = pb.ModelInferRequest(
        model_name="m",
        inputs=[pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=(1, 1))],
        raw_input_contents=[np.array([value], np.float32).tobytes()],
    )
    infer: Any = channel.unary_unary(PREFIX + "ModelInfer")
    message = pb.ModelInferResponse.FromString(
        infer(request.SerializeToString(), timeout=PATIENCE_S)
    )
    return float(np.frombuffer(message.raw_output_contents[0], np.float32)[0])


def test_a_worker_serves_from_listening_to_draining(tmp_path: Path, name: Name):
    """Its state, its health and its counters say so."""
    models.publish(tmp_path, "m", models.doubling())
    block = Block.create(COUNTED_RPCS)
    with working(tmp_path, block, transport=name) as (worker, channel):
        answer = double(channel, 21)
        statuses = [health(channel, service) for service in ("", "m", "liveness")]
        states = [block.state]
        names = worker.model_names(), worker.transport_name
    states.append(block.state)
    (totals,) = total([block])

    assert answer == 42
    assert statuses == [health_pb2.HealthCheckResponse.SERVING] * 3
    assert names == (["m/1"], name)
    assert states == [WorkerState.SERVING, WorkerState.DOWN]
    assert (totals.rows, totals.state) == (1, ModelState.READY)
    assert block.heartbeat_age_s() < PATIENCE_S
    assert block.rpc_counts()[COUNTED_RPCS.index(PREFIX + "ModelInfer"), 0] == 1


def test_a_worker_that_is_asked_looks_at_the_others_first(tmp_path: Path):
    """Ready means all: what the metrics port says, gRPC's health says at the same moment."""
    models.publish(tmp_path, "m", models.doubling())
    block, other = Block.create(COUNTED_RPCS), Block.create(COUNTED_RPCS)
    seen = []
    with working(tmp_path, block, other, transport="core") as (_, channel):
        for state in (WorkerState.STARTING, WorkerState.SERVING, WorkerState.DOWN):
            other.state = state
            seen.append(health(channel, ""))

    assert seen == [
        health_pb2.HealthCheckResponse.NOT_SERVING,
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
    ]


def test_a_draining_worker_tells_its_watchers_first(tmp_path: Path, name: Name):
    """NOT_SERVING comes while calls are still welcome; then the watch is ended."""
    models.publish(tmp_path, "m", models.doubling())
    block = Block.create(COUNTED_RPCS)
    with working(tmp_path, block, transport=name, drain_delay_s=1.0) as (worker, channel):
        updates = channel.unary_stream(
            WATCH,
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )(health_pb2.HealthCheckRequest(service="m"), timeout=PATIENCE_S)
        seen = [next(updates).status]
        worker.drain_soon()
        worker.drain_soon()
        seen.append(next(updates).status)
        state = block.state
        answer = double(channel, 4)
        with pytest.raises(grpc.RpcError) as error:
            next(updates)

    assert seen == [
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
    ]
    assert (state, answer) == (WorkerState.DRAINING, 8)
    assert isinstance(error.value, grpc.Call)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_broken_model_keeps_the_server_from_starting(tmp_path: Path):
    """Unless it is told otherwise; the text says how."""
    models.publish(tmp_path, "m", models.doubling())
    (tmp_path / "broken" / "1").mkdir(parents=True)
    (tmp_path / "broken" / "1" / "model.onnx").touch()
    with pytest.raises(LoadError, match=r"\(--no-exit-on-error serves the other models\)$"):
        worker_of(tmp_path)


def test_the_other_models_are_served_when_told_so(tmp_path: Path):
    """The broken one has NOT_SERVING and its state in the counters; the server is not ready."""
    models.publish(tmp_path, "m", models.doubling())
    (tmp_path / "broken" / "1").mkdir(parents=True)
    (tmp_path / "broken" / "1" / "model.onnx").touch()
    block = Block.create(COUNTED_RPCS)
    with working(tmp_path, block, exit_on_error=False, transport="core") as (_, channel):
        answer = double(channel, 1)
        statuses = [health(channel, service) for service in ("", "broken", "m")]
    states = {model.name: model.state for model in total([block])}

    assert answer == 2
    assert statuses == [
        health_pb2.HealthCheckResponse.NOT_SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
        health_pb2.HealthCheckResponse.SERVING,
    ]
    assert states == {"broken": ModelState.UNAVAILABLE, "m": ModelState.READY}


def test_a_repository_without_models_keeps_the_server_from_starting(tmp_path: Path):
    """There is nothing to serve."""
    with pytest.raises(RepositoryError):
        worker_of(tmp_path)
