"""Which device models are placed on, how sessions are opened there, and what may go wrong."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path

import pytest

from isotherm.server import placer
from isotherm.server.config import DeviceConfig, Provider, ServerConfig
from isotherm.server.device.driver import Gpu
from isotherm.server.device.lane import Lane
from isotherm.server.errors import LoadError, ProviderError
from isotherm.server.loader import Loader
from isotherm.server.placer import Placer
from isotherm.server.providers import DeviceOptions
from tests.support import models
from tests.support.host_device import HostDevice
from tests.support.hostile import TRUSTED
from tests.support.stopwatch import device_always
from tests.unit.server.placing import Choosing, Placing, doubled, failing, tolerant


@pytest.fixture(name="placing")
def _placing(tmp_path: Path):
    """A machine with a device."""
    placing = Placing(tmp_path)
    yield placing
    placing.close()


class Machine:
    """A machine that has so many GPUs, as the placer sees it: stand-ins, or none that opens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int, problem: str = "") -> None:
        self.opened: list[HostDevice] = []
        self._problem = problem
        gpus = tuple(
            Gpu(number=n, name=f"GPU {n}", uuid="", capability=(9, 0), memory_bytes=80 << 30)
            for n in range(count)
        )
        monkeypatch.setattr(placer, "cuda_problem", lambda: None)
        monkeypatch.setattr(placer, "visible_devices", lambda: gpus)
        monkeypatch.setattr(placer, "Cuda", self._open)

    def _open(self, number: int) -> HostDevice:
        if self._problem:
            raise AttributeError(self._problem)
        self.opened.append(HostDevice(number))
        return self.opened[-1]


@pytest.mark.parametrize(("ids", "slot", "number"), [((), 0, 0), ((2, 1), 0, 2), ((2, 1), 3, 1)])
def test_a_worker_takes_the_device_of_its_slot(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    ids: tuple[int, ...],
    slot: int,
    number: int,
):
    """And says which that is; its models run there."""
    caplog.set_level(logging.INFO)
    machine = Machine(monkeypatch, 3)
    config = ServerConfig(
        repository=tmp_path, provider="cuda", vetting=TRUSTED, device=DeviceConfig(ids=ids)
    )
    loader = Loader(config, slot=slot)
    model = loader.load("m", 1, models.publish(tmp_path, "m", models.doubling()))
    placement = model.placement
    wait(model.close())

    assert [device.number for device in machine.opened] == [number]
    assert placement.device_number == number
    assert f"device {number} is GPU {number}, 81920 MiB" in caplog.text
    assert machine.opened[0].leaks == []


@pytest.mark.parametrize("provider", ["auto", "cuda"])
def test_a_device_that_is_not_there_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: Provider
):
    """Whoever names devices means them."""
    Machine(monkeypatch, 2)
    device = DeviceConfig(ids=(0, 2))
    config = ServerConfig(repository=tmp_path, provider=provider, device=device)
    with pytest.raises(ProviderError, match="names device 2: the driver shows 2, counted from 0"):
        Placer.of(config, 1)


def test_a_device_that_cannot_be_opened_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Its library may lack what we call."""
    Machine(monkeypatch, 1, problem="undefined symbol: cudaSetDevice")
    with pytest.raises(ProviderError, match=r"^--provider cuda: the device cannot be opened \(und"):
        Placer.of(ServerConfig(repository=tmp_path, provider="cuda"))
    Placer.of(ServerConfig(repository=tmp_path, provider="auto"))

    assert "provider auto took cpu: the device cannot be opened (undefined symbol" in caplog.text


NO_KERNEL = "[ONNXRuntimeError] : 1 : FAIL : CUDA error: no kernel image is available for execution"


def test_a_device_that_fails_where_the_cpu_does_not_is_at_fault(
    placing: Placing, caplog: pytest.LogCaptureFixture
):
    """One too new for the runtime, for example: that is no model that takes no zeros."""
    with pytest.raises(LoadError, match="it fails on the device: CUDA error: no kernel image is a"):
        placing.load(provider="cuda", stopwatch=failing(NO_KERNEL))
    model = placing.load(provider="auto", stopwatch=failing(NO_KERNEL))

    assert model.provider == "cpu"
    assert model.placement.fell_back
    assert "no kernel image" in model.placement.notes[0]
    assert "provider auto took cpu" in caplog.text
    assert "fails on rows of zeros" not in caplog.text
    assert placing.device.leaks == []


def test_a_lost_device_is_not_said_to_be_full(placing: Placing):
    """An illegal access to memory is no lack of it."""
    text = (
        "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=h ; "
        "file=/src/cuda_allocator.cc ; line=1 ; expr=cudaMalloc(&p, size);"
    )
    with pytest.raises(
        LoadError, match=r"fails on the device: CUDA failure 700: an .* encountered$"
    ):
        placing.load(provider="cuda", stopwatch=failing(text))


@pytest.mark.parametrize(
    "text",
    [
        "Failed to allocate memory for requested buffer of size 4294967296",
        "Available memory of 512 is smaller than requested bytes of 1024",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED",
        "CUDA failure 2: out of memory",
    ],
)
def test_a_full_device_is_said_to_be_full(placing: Placing, text: str):
    """By whichever library."""
    with pytest.raises(LoadError, match=r"the device has no room for it \("):
        placing.load(provider="cuda", stopwatch=failing(text))
    assert placing.load(stopwatch=failing(text)).placement.fell_back


def test_the_device_s_memory_is_known(placing: Placing):
    """What is free no more: at least its buffers."""
    model = placing.load(models.mlp((64, 64, 8)), "cuda")

    assert model.placement.memory_bytes == sum(lane.memory_bytes for lane in model.lanes)
    assert model.placement.memory_bytes > 64 * 64 * 4


@pytest.mark.parametrize("call", ["open_stream", "allocate", "enter"])
def test_a_device_without_room_is_stepped_back_from(
    placing: Placing, caplog: pytest.LogCaptureFixture, call: str
):
    """Auto serves all the same, by the lane's plainer way or on the CPU, and says so."""
    placing.device.failing = [call] * 50
    model = placing.load(stopwatch=device_always())
    placing.device.failing = []

    assert model.placement.notes != ()
    assert any("out of memory" in record.getMessage() for record in caplog.records)
    if not model.lanes:
        assert model.placement.fell_back
        assert model.provider == "cpu"


def test_cuda_on_a_lost_device_is_no_model(placing: Placing):
    """With the device's own words."""
    placing.device.lost = True
    with pytest.raises(LoadError, match="illegal memory access"):
        placing.load(provider="cuda")
    placing.device.lost = False


def test_auto_on_a_lost_device_serves_on_the_cpu(
    placing: Placing, caplog: pytest.LogCaptureFixture
):
    """Loudly: who runs a GPU node wants to know."""
    placing.device.lost = True
    model = placing.load(stopwatch=device_always())
    placing.device.lost = False

    assert model.provider == "cpu"
    assert model.placement.fell_back
    assert "illegal memory access" in model.placement.notes[0]
    (record,) = [r for r in caplog.records if "took cpu" in r.getMessage()]
    assert record.levelno == logging.WARNING
    assert "model.onnx: provider auto took cpu" in record.getMessage()


@pytest.fixture(name="choosing")
def _choosing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The same machine, with an ear at its door."""
    choosing = Choosing(tmp_path, monkeypatch)
    yield choosing
    choosing.close()


@pytest.mark.parametrize("relative", [0.0, 1e-4, 1.9e-3])
def test_tf32_is_off_where_golden_rows_are_strict(choosing: Choosing, relative: float):
    """And where there are none."""
    choosing.load(tolerant(relative), "cuda")
    choosing.load(models.doubling(), "cuda")

    assert choosing.tf32 == [False]


def test_tf32_is_on_where_golden_rows_allow_for_it(choosing: Choosing):
    """All lanes; the one without, which told, is gone."""
    model = choosing.load(tolerant(2e-3), "cuda")

    assert choosing.tf32 == [False, True]
    assert len(model.lanes) == 2
    assert len([leak for leak in choosing.device.leaks if "stream" in leak]) == 2


def test_without_tf32_again_where_its_answers_are_too_far_off(
    choosing: Choosing, caplog: pytest.LogCaptureFixture
):
    """Said once, and served with all digits."""
    choosing.refuse = lambda options: "1 of 2 golden rows disagree" if options.tf32 else ""
    model = choosing.load(tolerant(1e-2), "cuda")

    assert choosing.tf32 == [False, True, False]
    assert len(model.lanes) == 2
    assert doubled(model, 3)
    assert any("TF32 is left off" in record.getMessage() for record in caplog.records)


def test_a_second_lane_that_fails_with_tf32_takes_the_first_with_it(choosing: Choosing):
    """Both are opened again without; `choosing` sees that nothing else is left."""
    opened: list[bool] = []

    def refuse(options: DeviceOptions) -> str:
        opened.append(options.tf32)
        return "no room" if opened.count(True) > 1 and options.tf32 else ""

    choosing.refuse = refuse
    model = choosing.load(tolerant(1e-2), "cuda", device=DeviceConfig(graphs=False))

    assert opened[:3] == [False, True, True]
    assert not opened[-1]
    assert len(model.lanes) == 2


def test_the_limit_is_named_where_a_model_does_not_fit(choosing: Choosing):
    """Whoever sees that can do something about it."""
    choosing.refuse = lambda _options: "Failed to allocate memory for requested buffer of size 9"
    with pytest.raises(LoadError) as error:
        choosing.load(provider="cuda")

    assert "the device has no room for it (" in str(error.value)
    assert "--gpu-memory-limit is 512 MiB for each of its instances" in str(error.value)


def test_auto_stays_on_the_cpu_where_the_device_refuses(choosing: Choosing):
    """With the reason in its notes."""
    choosing.refuse = lambda _options: "no kernel image is available for execution"
    model = choosing.load(stopwatch=device_always())

    assert model.provider == "cpu"
    assert model.placement.fell_back
    assert "no kernel image is available" in model.placement.notes[0]


def test_a_second_lane_that_does_not_fit_takes_the_first_with_it(choosing: Choosing):
    """Nothing of either is left."""
    opened: list[DeviceOptions] = []

    def refuse(options: DeviceOptions) -> str:
        opened.append(options)
        return "out of memory" if len(opened) > 1 else ""

    choosing.refuse = refuse
    with pytest.raises(LoadError, match="out of memory"):
        choosing.load(provider="cuda")

    assert choosing.device.leaks == []


@pytest.mark.parametrize("graphs", [True, False])
def test_a_model_s_own_limits_are_heeded(choosing: Choosing, graphs: bool):
    """Its memory, and whether its runs may be recorded."""
    choosing.load(provider="cuda", device=DeviceConfig(graphs=graphs, memory_limit_mib=77))

    assert choosing.limits == {77 << 20}
    assert (True in choosing.graphs) is graphs


def test_what_a_model_does_without_is_said_with_its_name(
    placing: Placing, caplog: pytest.LogCaptureFixture
):
    """Of many models, each with its own reason."""
    placing.device.failing = ["open_stream"] * 2
    placing.load(provider="cuda")

    texts = [record.getMessage() for record in caplog.records]
    assert [text for text in texts if "m/1/model.onnx on device 3: no CUDA graphs: " in text]


def test_a_part_that_runs_on_the_cpu_is_only_for_auto(choosing: Choosing):
    """CUDA by name is CUDA for all of it."""
    found: list[bool] = []

    def note(options: DeviceOptions) -> str:
        found.append(options.may_mix)
        return ""

    choosing.refuse = note
    choosing.load(provider="cuda")
    assert set(found) == {False}
    found.clear()
    choosing.load(provider="auto", stopwatch=device_always())
    assert set(found) == {True}


def test_a_device_that_others_keep_busy_is_no_slower(
    placing: Placing, monkeypatch: pytest.MonkeyPatch
):
    """What a lane has waited for its turns is told to the stopwatch, which leaves it out."""
    waited = itertools.count()
    monkeypatch.setattr(Lane, "waited_s", property(lambda _lane: float(next(waited))))
    told: dict[str, list[float]] = {"cpu": [], "device": []}

    def stopwatch(place: str, rows: int, run: Callable[[], float]) -> float:
        told[place].append(run())
        return 1.0

    placing.load(stopwatch=stopwatch, max_batch_size=4)

    assert told == {"cpu": [0.0] * 3, "device": [1.0] * 3}


def test_memory_that_somebody_else_gives_back_meanwhile_is_not_the_models(
    placing: Placing, monkeypatch: pytest.MonkeyPatch
):
    """What its lanes have for certain is the least that it takes."""
    free = itertools.count(1 << 20, 1 << 20)
    monkeypatch.setattr(placing.device, "memory", lambda: (next(free), 1 << 30))

    model = placing.load(provider="cuda")

    assert model.placement.memory_bytes == sum(lane.memory_bytes for lane in model.lanes) > 0
