"""A worker on a device, in this process: what its callers see, and what it leaves behind."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import grpc
import numpy as np
import pytest

from isotherm.server import control
from isotherm.server.config import ServerConfig
from isotherm.server.control import Line
from isotherm.server.counters import Block
from isotherm.server.errors import DeviceLostError
from isotherm.server.loader import Loader
from isotherm.server.model_config import ModelSettings
from isotherm.server.placer import Placer
from isotherm.server.repository import Repository
from isotherm.server.rpcs import COUNTED_RPCS, PREFIX
from isotherm.server.service.inference import InferenceService
from isotherm.server.worker import Worker
from isotherm.v1 import open_inference_pb2 as pb
from tests.support import models
from tests.support.host_device import HostDevice
from tests.support.hostile import TRUSTED
from tests.support.stopwatch import device_always
from tests.unit.server.fakes import FakeCall, FakeLoop
from tests.unit.server.serving import PATIENCE_S, Name
from tests.unit.server.test_worker import lines


@pytest.fixture(name="name", params=["core", "aio"])
def _name(request: pytest.FixtureRequest) -> Name:
    """Each transport in turn."""
    name: Name = request.param
    return name


@pytest.fixture(name="device")
def _device() -> HostDevice:
    """The one device of the machine."""
    return HostDevice()


class Working:
    """A worker, its caller, and its supervisor's end of the line."""

    def __init__(self, worker: Worker, channel: grpc.Channel, supervisor: Line) -> None:
        self.worker = worker
        self.supervisor = supervisor
        self._infer = channel.unary_unary(
            f"{PREFIX}ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )

    def infer(self, *values: float) -> list[float]:
        """Ask for values doubled."""
        answer = self._infer(doubling(*values), timeout=PATIENCE_S)
        return [float(value) for value in np.frombuffer(answer.raw_output_contents[0], np.float32)]


@contextmanager
def working(
    folder: Path, device: HostDevice, name: Name, thread_name: str = "worker"
) -> Iterator[tuple[Working, threading.Thread]]:
    """Run a worker whose batches run on the device."""
    config = ServerConfig(
        repository=folder, provider="auto", grace_s=5, transport=name, vetting=TRUSTED
    )
    line, supervisor = lines()
    placer = Placer(config, device, stopwatch=device_always())
    worker = Worker(
        config, 0, [Block.create(COUNTED_RPCS)], line, loader=Loader(config, placer=placer)
    )
    port = worker.listen("127.0.0.1:0")
    thread = threading.Thread(target=worker.run, name=thread_name, daemon=True)
    thread.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            yield Working(worker, channel, supervisor), thread
        finally:
            worker.drain_soon()
            thread.join(PATIENCE_S)
            # The worker froze everything alive: right for its process, not for this one.
            gc.unfreeze()
            line.close()
            supervisor.close()
    assert not thread.is_alive()


def doubling(*values: float) -> pb.ModelInferRequest:
    """Return a request for the model that doubles."""
    shape = (len(values), 1)
    return pb.ModelInferRequest(
        model_name="doubling",
        inputs=[pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=shape)],
        raw_input_contents=[np.array(values, np.float32).tobytes()],
    )


def test_a_lost_device_ends_the_worker_and_its_callers_try_elsewhere(
    tmp_path: Path, device: HostDevice, name: Name, caplog: pytest.LogCaptureFixture
):
    """Those of its batch are told what a client repeats; the supervisor is told why."""
    models.publish(tmp_path, "doubling", models.doubling())
    caplog.set_level(logging.CRITICAL)

    with working(tmp_path, device, name) as (served, thread):
        assert served.infer(*range(30)) == [2.0 * row for row in range(30)]
        device.lost = True
        with pytest.raises(grpc.RpcError) as raised:
            served.infer(*range(30))
        # The batch of another lane, a moment later: nothing is said twice.
        again = partial(served.worker._on_device_lost, DeviceLostError("lost as well"))
        served.worker._transport.call_soon_threadsafe(again)
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        messages = served.supervisor.read()

    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "illegal memory access" in str(raised.value)
    assert served.worker.device_lost
    # Balancers are told too, for the moment that is left.
    assert served.worker._draining
    (failed,) = [one for one in messages or () if one["kind"] == control.FAILED]
    assert failed["reason"].startswith("a device is lost to this process, which ends")
    (record,) = caplog.records
    assert record.getMessage() == failed["reason"]


def test_a_hundred_versions_come_and_go_and_leave_nothing(tmp_path: Path, device: HostDevice):
    """Each is asked while the next one is put in its place."""
    config = ServerConfig(repository=tmp_path, provider="cuda", vetting=TRUSTED)
    loader = Loader(config, placer=Placer(config, device, stopwatch=device_always()))
    repository = Repository(tmp_path, ModelSettings())
    loop = FakeLoop()
    service = InferenceService(repository, loop, Block.create([]))
    threads = threading.active_count()
    for version in range(1, 102):
        models.publish(tmp_path, "doubling", models.times(version), version)
        change = repository.commit(repository.prepare("doubling", loader))
        assert [model.lanes != () for model in change.added] == [True]
        waiting = FakeCall()
        if version > 1:
            # It waits in the queue of a version that retires.
            service.infer(waiting, doubling(3.0).SerializeToString())
        service.apply(change)
        deadline = time.monotonic() + PATIENCE_S
        while (version > 1 and waiting.code is None) or len(service._retiring):
            assert time.monotonic() < deadline
            loop.run_deferred()
            loop.run_timers()
            if version > 1 and waiting.code is None:
                loop.run_posted()
        if version > 1:
            answer = pb.ModelInferResponse.FromString(waiting.sent[0])
            assert np.frombuffer(answer.raw_output_contents[0], np.float32) == 3.0 * (version - 1)
        # What retires frees on its own threads, a moment later.
        while len([one for one in device.leaks if one.startswith("stream")]) > 2:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    service.close()

    assert device.leaks == []
    deadline = time.monotonic() + PATIENCE_S
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == threads
