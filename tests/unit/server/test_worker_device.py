"""A whole worker whose models run on a device: the host's memory, and ONNX Runtime on the CPU.

Real clients call it by gRPC; what is on the device's way is counted by the device.
"""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from isotherm.server import control
from isotherm.server.config import BatchingConfig, ServerConfig
from isotherm.server.control import Line
from isotherm.server.costs import Stopwatch
from isotherm.server.counters import Block
from isotherm.server.loader import Loader
from isotherm.server.placer import Placer
from isotherm.server.rpcs import COUNTED_RPCS
from isotherm.server.totals import ModelTotals, total
from isotherm.server.worker import Worker
from isotherm.v1 import open_inference_pb2 as pb
from tests.support import models
from tests.support.host_device import HostDevice
from tests.support.hostile import TRUSTED
from tests.support.rpc import call, infer_request, outputs_of
from tests.support.stopwatch import Figures, device_always, device_from, device_never
from tests.unit.server.serving import PATIENCE_S

BREAK_EVEN = 20
MAX_ROWS = 64


@dataclass
class Serving:
    """A worker that serves, its device, and a caller's end."""

    folder: Path
    device: HostDevice
    block: Block
    worker: Worker
    channel: grpc.Channel

    def times(self, rows: int, model: str = "m", first: float = 1.0) -> float:
        """Ask for so many rows; return by how much each was multiplied."""
        x = np.arange(first, first + rows, dtype=np.float32).reshape(rows, 1)
        answer = call(self.channel, "ModelInfer", infer_request(model, x=x), timeout=PATIENCE_S)
        ratios = outputs_of(answer)["y"] / x
        np.testing.assert_array_equal(ratios, ratios[0, 0])
        return float(ratios[0, 0])

    def went_to_device(self, rows: int) -> int:
        """Ask for so many rows; return how many the device has got meanwhile."""
        before = self.device.copied_in_bytes
        self.times(rows)
        return (self.device.copied_in_bytes - before) // 4

    def config(self, model: str = "m") -> pb.ModelConfig:
        """Return a model's configuration."""
        answer: pb.ModelConfigResponse = call(
            self.channel, "ModelConfig", pb.ModelConfigRequest(name=model)
        )
        return answer.config

    def totals(self, model: str = "m") -> ModelTotals:
        """Return a model's counters."""
        return next(each for each in total([self.block]) if each.name == model)

    def reconcile(self) -> None:
        """Have the worker look at its folder."""
        self.worker.obey({"kind": control.RECONCILE})


@contextmanager
def serving(folder: Path, stopwatch: Stopwatch, **settings: Any) -> Iterator[Serving]:
    """Run a worker on a device that is as fast as the test says; drained, nothing is left on it."""
    values: dict[str, Any] = {
        "provider": "auto",
        "batching": BatchingConfig(max_batch_size=MAX_ROWS),
        "model_control": "poll",
    }
    config = ServerConfig(repository=folder, grace_s=5, vetting=TRUSTED, **values | settings)
    device = HostDevice()
    block = Block.create(COUNTED_RPCS)
    ours, theirs = socket.socketpair()
    line, supervisor = Line(ours), Line(theirs)
    loader = Loader(config, placer=Placer(config, device, stopwatch=stopwatch))
    worker = Worker(config, 0, [block], line, loader=loader)
    port = worker.listen("127.0.0.1:0")
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            yield Serving(folder, device, block, worker, channel)
        finally:
            worker.drain_soon()
            thread.join(PATIENCE_S)
            gc.unfreeze()
            line.close()
            supervisor.close()
    assert not thread.is_alive()
    until(lambda: device.leaks == [])


def until(true: Callable[[], bool]) -> None:
    """Wait for what is about to happen on another thread."""
    pause = threading.Event()
    for _ in range(1000):
        if true():
            return
        pause.wait(0.01)
    raise AssertionError


def await_factor(server: Serving, factor: float) -> None:
    """Wait until the version that multiplies by so much answers."""
    until(lambda: server.times(40) == factor)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """A repository with one model, which doubles."""
    models.publish(tmp_path, "m", models.doubling())
    return tmp_path


def test_batches_go_where_they_are_faster(folder: Path):
    """Each by its own rows, up to several full batches at once, and all are answered rightly."""
    with serving(folder, device_from(BREAK_EVEN)) as server:
        went = {rows: server.went_to_device(rows) for rows in (1, 19, 20, 21, 64, 65, 300, 7)}

    assert went == {1: 0, 19: 0, 20: 20, 21: 21, 64: 64, 65: 65, 300: 300, 7: 0}


def test_batches_for_the_cpu_may_be_too_long_for_the_loop(folder: Path):
    """Then they are handed over, and still go past the device."""
    slow = Figures(cpu=lambda n: 250e-6 + n * 10e-6, device=lambda _n: 795e-6)
    with serving(folder, slow) as server:
        rows = server.totals().break_even_rows
        went = [server.went_to_device(each) for each in (1, rows - 1, rows, rows - 1)]
        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(server.times, [*range(1, 64)] * 3))

    assert rows == 35
    assert went == [0, 0, rows, 0]
    assert found == {2.0}


def test_a_batch_without_room_on_the_device_fails_alone(folder: Path):
    """The next one has its answer, on the device."""
    with serving(folder, device_from(BREAK_EVEN)) as server:
        server.device.failing = ["copy_in"]
        with pytest.raises(grpc.RpcError) as error:
            server.times(30)
        assert server.went_to_device(30) == 30
        until(lambda: server.totals().buffers_lent == 0)

    assert isinstance(error.value, grpc.Call)
    assert error.value.code() is grpc.StatusCode.INTERNAL
    assert "out of memory" in (error.value.details() or "")


def test_buffers_that_are_not_given_back_are_seen(folder: Path):
    """Half a second later at most."""
    with serving(folder, device_from(BREAK_EVEN)) as server:
        lane = server.worker._inference._endpoints["m", ""].model.lanes[0]
        server.device.enter()
        lease = lane._leases.lend(10)
        until(lambda: server.totals().buffers_lent == 1)
        lease.release()
        until(lambda: server.totals().buffers_lent == 0)


def test_the_configuration_and_the_counters_say_where(folder: Path):
    """For callers, and for the scrape."""
    with serving(folder, device_from(BREAK_EVEN)) as server:
        config, totals = server.config(), server.totals()

    (group,) = config.instance_group
    assert (group.kind, group.count, list(group.gpus)) == (
        pb.ModelInstanceGroup.KIND_GPU,
        2,
        [0],
    )
    assert config.parameters["isotherm.provider"].string_value == "cuda"
    assert config.parameters["isotherm.break_even_rows"].string_value == str(BREAK_EVEN)
    assert (totals.provider, totals.break_even_rows) == ("cuda", BREAK_EVEN)
    assert totals.device_bytes > 0
    assert not totals.fell_back


def test_a_device_that_never_wins_serves_nothing(folder: Path):
    """All is as without one, and said to be so."""
    with serving(folder, device_never()) as server:
        assert server.went_to_device(64) == 0
        config, totals = server.config(), server.totals()

    assert config.instance_group[0].kind == pb.ModelInstanceGroup.KIND_CPU
    assert config.parameters["isotherm.provider"].string_value == "cpu"
    assert config.parameters["isotherm.break_even_rows"].string_value == "0"
    assert config.parameters["isotherm.provider_note"].string_value.startswith("the CPU is faster")
    assert (totals.provider, totals.break_even_rows, totals.device_bytes) == ("cpu", 0, 0)
    assert not totals.fell_back


@pytest.mark.parametrize("settings", [{}, {"provider": "cuda"}], ids=["auto", "cuda"])
def test_a_device_that_always_wins_serves_all(folder: Path, settings: dict[str, Any]):
    """Even one row."""
    with serving(folder, device_always(), **settings) as server:
        assert [server.went_to_device(rows) for rows in (1, 64)] == [1, 64]
        assert server.totals().break_even_rows == 1


def test_falling_back_is_counted(folder: Path):
    """Where a device fails at the load of a model."""
    with serving(folder, device_from(BREAK_EVEN)) as server:
        server.device.lost = True
        models.publish(folder, "other", models.times(3))
        server.reconcile()
        until(lambda: any(each.name == "other" for each in total([server.block])))
        until(lambda: server.totals("other").fell_back)
        server.device.lost = False
        assert server.times(50, "other") == 3
        assert "illegal" in server.config("other").parameters["isotherm.provider_note"].string_value


def test_many_callers_at_once_are_all_answered_rightly(folder: Path):
    """Small and large ones beside each other, in whatever batches."""
    rng = np.random.default_rng(0)
    sizes = [int(size) for size in rng.integers(1, 100, 300)]
    with serving(folder, device_from(BREAK_EVEN)) as server:
        with ThreadPoolExecutor(16) as pool:
            found = set(pool.map(lambda rows: server.times(rows, first=rows), sizes))
        until(lambda: server.totals().answered == len(sizes))
        totals = server.totals()
        until(lambda: server.totals().buffers_lent == 0)

    assert found == {2.0}
    assert totals.rows == sum(sizes)
    assert totals.failed == 0


def test_versions_are_swapped_under_load(folder: Path):
    """No call fails, every answer is one version's own, and old versions leave no memory behind."""
    swaps, stop = 12, threading.Event()
    with serving(folder, device_from(BREAK_EVEN)) as server:

        def ask(rows: int) -> set[float]:
            found = set()
            while not stop.is_set():
                found.add(server.times(rows))
            return found

        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(ask, rows) for rows in (1, 19, 30, 130)]
            for version in range(2, swaps + 2):
                models.publish(folder, "m", models.times(version * 10), version)
                server.reconcile()
                await_factor(server, version * 10)
            stop.set()
            found = [each.result(PATIENCE_S) for each in asked]
        until(lambda: sum("stream" in leak for leak in server.device.leaks) == 2)

    known = {2.0, *(version * 10.0 for version in range(2, swaps + 2))}
    assert all(each <= known for each in found)
    assert all((swaps + 1) * 10.0 in each for each in found)


def test_a_drain_answers_what_runs_on_the_device(folder: Path):
    """Every call that was accepted."""
    with serving(folder, device_from(BREAK_EVEN)) as server:
        server.times(1)
        x = np.ones((5000, 1), np.float32)
        infer: Any = server.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        message = infer_request("m", x=x).SerializeToString()
        asked = [infer.future(message, timeout=PATIENCE_S) for _ in range(10)]
        asked[0].result()
        server.worker.drain_soon()
        answers = []
        for each in asked:
            # One that had not come yet is told to go elsewhere.
            if each.exception() is None:
                answers.append(outputs_of(pb.ModelInferResponse.FromString(each.result()))["y"])
            else:
                assert each.code() is grpc.StatusCode.UNAVAILABLE

    assert answers
    assert all((each == 2).all() for each in answers)


def test_several_models_share_a_device(folder: Path):
    """Each gets its own answers."""
    for factor in (3, 5, 7):
        models.publish(folder, f"m{factor}", models.times(factor))
    with (
        serving(folder, device_always(), batching=BatchingConfig(max_batch_size=8)) as server,
        ThreadPoolExecutor(8) as pool,
    ):
        names = [f"m{factor}" for factor in (3, 5, 7)] * 60
        found = list(pool.map(lambda name: server.times(30, name), names))

    assert found == [3.0, 5.0, 7.0] * 60
