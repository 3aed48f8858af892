"""Which GPUs the workers run on, and how many workers that makes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from isotherm.server import cpus, gpus, supervisor
from isotherm.server.__main__ import app
from isotherm.server.config import Provider, ServerConfig
from isotherm.server.device import probe, runtimes
from isotherm.server.device.driver import Gpu
from isotherm.server.device.runtimes import Runtime


class Machine:
    """A machine with so many GPUs, and a runtime built for CUDA or not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int, cuda: str | None) -> None:
        self.looked = 0
        self._devices = tuple(
            Gpu(number=n, name="A", uuid=f"GPU-{n}", capability=(9, 0), memory_bytes=1 << 34)
            for n in range(count)
        )
        monkeypatch.setattr(probe, "visible_devices", self.visible_devices)
        runtime = Runtime(folder=Path(), cuda=cuda, packages=())
        monkeypatch.setattr(runtimes, "installed", lambda: runtime)

    def visible_devices(self) -> tuple[Gpu, ...]:
        self.looked += 1
        return self._devices


@pytest.mark.parametrize(
    ("provider", "count", "cuda", "chosen", "used"),
    [
        ("auto", 3, "13.0", (), (0, 1, 2)),
        ("cuda", 3, "13.0", (), (0, 1, 2)),
        ("auto", 3, "13.0", (2, 0), (2, 0)),
        ("auto", 0, "13.0", (0, 1), ()),
        ("cuda", 0, None, (0,), ()),
        ("auto", 3, None, (), ()),
        ("cuda", 3, None, (), (0, 1, 2)),
        ("cpu", 3, "13.0", (1,), ()),
    ],
)
def test_workers_use_the_devices_that_are_visible_or_chosen(
    monkeypatch: pytest.MonkeyPatch,
    provider: Provider,
    count: int,
    cuda: str | None,
    chosen: tuple[int, ...],
    used: tuple[int, ...],
):
    """None where the provider will not take them."""
    Machine(monkeypatch, count, cuda)

    assert gpus.used(provider, chosen) == used


def test_on_the_cpu_nobody_looks(monkeypatch: pytest.MonkeyPatch):
    """The driver takes a moment to start, and memory."""
    machine = Machine(monkeypatch, 2, "13.0")
    gpus.used("cpu")

    assert machine.looked == 0


@pytest.mark.parametrize(
    ("text", "numbers"), [("0", (0,)), ("0,1", (0, 1)), (" 3, 1 ", (3, 1)), ("", ()), ("  ", ())]
)
def test_devices_are_given_as_a_list(text: str, numbers: tuple[int, ...]):
    """Separated by commas."""
    assert gpus.parse(text) == numbers


@pytest.mark.parametrize("text", ["a", "0,", "0;1", "GPU-1", "1.5"])
def test_anything_else_is_no_list_of_devices(text: str):
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="invalid literal"):
        gpus.parse(text)


class Told:
    """Stands where the supervisor is, and keeps what it was told."""

    configs: list[ServerConfig]

    def __init__(self, config: ServerConfig) -> None:
        self.configs.append(config)

    def run(self) -> int:
        """Return at once."""
        return 0


@pytest.mark.parametrize(
    ("arguments", "workers", "ids"),
    [
        ((), 2, (0, 1)),
        (("--provider", "cuda"), 2, (0, 1)),
        (("--provider", "cpu"), 1, ()),
        (("--workers", "5"), 5, (0, 1)),
        (("--workers", "1"), 1, (0, 1)),
        (("--device-ids", "1"), 1, (1,)),
        (("--device-ids", "1", "--workers", "3"), 3, (1,)),
        (("--workers", "0"), cpus.allowed(), (0, 1)),
    ],
)
def test_there_is_a_worker_a_gpu_unless_told(
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    workers: int,
    ids: tuple[int, ...],
):
    """As many as devices are used."""
    Machine(monkeypatch, 2, "13.0")
    config = told(monkeypatch, *arguments)

    assert (config.workers, config.device.ids) == (workers, ids)


def test_without_gpus_there_is_one_worker(monkeypatch: pytest.MonkeyPatch):
    """As ever."""
    Machine(monkeypatch, 0, None)
    config = told(monkeypatch)

    assert (config.workers, config.device.ids) == (1, ())
    assert (config.batching.instances, config.batching.lanes) == (1, 2)


def test_what_is_said_of_devices_reaches_the_workers(monkeypatch: pytest.MonkeyPatch):
    """Graphs, memory, and how many batches at once."""
    Machine(monkeypatch, 1, "13.0")
    flags = ("--no-cuda-graphs", "--gpu-memory-limit", "300", "--instances", "3")
    config = told(monkeypatch, *flags)

    assert (config.device.graphs, config.device.memory_limit_mib) == (False, 300)
    assert (config.batching.instances, config.batching.lanes) == (3, 3)


def told(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> ServerConfig:
    """Return the settings that the command makes of its arguments."""
    Told.configs = []
    monkeypatch.setattr(supervisor, "Supervisor", Told)
    result: Any = CliRunner().invoke(app, ["models", *arguments])
    assert result.exit_code == 0, result.output
    (config,) = Told.configs
    return config


@pytest.mark.skipif(bool(probe.visible_devices()), reason="the driver is there, and has to start")
def test_without_a_driver_looking_costs_next_to_nothing():
    """And loads no runtime: the supervisor outlives them all."""
    gpus.used("auto")
    start_s = time.process_time()
    for _ in range(10):
        assert gpus.used("auto") == ()
    took_s = (time.process_time() - start_s) / 10
    program = (
        "import sys; from isotherm.server import gpus; gpus.used('auto');"
        "sys.exit(len({'onnxruntime', 'grpc', 'torch'} & set(sys.modules)))"
    )
    status = subprocess.run([sys.executable, "-c", program], env=os.environ, check=False).returncode

    assert took_s < 0.01
    assert status == 0
