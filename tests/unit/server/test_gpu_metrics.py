"""The GPUs' families; NVIDIA's library is replaced, since no test can rely on a device."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from isotherm.server.gpu_metrics import Gpus, find_gpus
from tests.support.server import eventually


class NVMLError(Exception):
    """What the binding raises."""


class Nvml(ModuleType):
    """The few calls of the binding that are made; device 1 is split by MIG and tells less."""

    NVMLError = NVMLError

    def __init__(self, devices: int) -> None:
        super().__init__("pynvml")
        self.devices = devices
        self.open = 0

    def nvmlInit(self) -> None:  # noqa: N802  the binding's name
        if self.devices < 0:
            msg = "NVML Shared Library Not Found"
            raise NVMLError(msg)
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802  the binding's name
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802  the binding's name
        return self.devices

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:  # noqa: N802  the binding's name
        return number

    def nvmlDeviceGetMemoryInfo(self, device: int) -> Any:  # noqa: N802  the binding's name
        return SimpleNamespace(used=(device + 1) << 30, total=80 << 30)

    def nvmlDeviceGetUtilizationRates(self, device: int) -> Any:  # noqa: N802  the binding's name
        if device == 1:
            msg = "Not Supported"
            raise NVMLError(msg)
        return SimpleNamespace(gpu=25, memory=3)

    def nvmlDeviceGetPowerUsage(self, _device: int) -> int:  # noqa: N802  the binding's name
        return 118_500


def found(monkeypatch: pytest.MonkeyPatch, nvml: Nvml) -> Gpus | None:
    """Look for GPUs where the binding is this one."""
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    return find_gpus()


def test_each_device_is_shown_by_its_number_in_base_units(monkeypatch: pytest.MonkeyPatch):
    """Bytes, watts and a ratio; what a device does not tell is left out."""
    nvml = Nvml(2)
    gpus = found(monkeypatch, nvml)
    assert gpus is not None
    gpus.start()

    def samples() -> dict[str, dict[str, float]]:
        return {
            family.name: {sample.labels["gpu"]: sample.value for sample in family.samples}
            for family in gpus.collect()
        }

    read = eventually(lambda: bool(samples()["isotherm_gpu_power_watts"]))
    shown = samples()
    gpus.close()

    assert read
    assert shown == {
        "isotherm_gpu_memory_used_bytes": {"0": 1 << 30, "1": 2 << 30},
        "isotherm_gpu_memory_total_bytes": {"0": 80 << 30, "1": 80 << 30},
        "isotherm_gpu_utilization_ratio": {"0": 0.25},
        "isotherm_gpu_power_watts": {"0": 118.5, "1": 118.5},
    }
    assert nvml.open == 0


@pytest.mark.parametrize("devices", [-1, 0])
def test_without_library_or_device_there_are_no_families(
    monkeypatch: pytest.MonkeyPatch, devices: int
):
    """Not even empty ones."""
    assert found(monkeypatch, Nvml(devices)) is None


def test_the_real_binding_has_what_is_called():
    """And finds nothing, or every device, on whatever machine this is."""
    binding = importlib.import_module("pynvml")
    gpus = find_gpus()
    if gpus is not None:
        gpus.close()

    assert issubclass(binding.NVMLError, Exception)
    assert {name for name in vars(Nvml) if name.startswith("nvml")} <= vars(binding).keys()


def test_without_the_binding_there_are_no_families(monkeypatch: pytest.MonkeyPatch):
    """It is an optional dependency."""
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert find_gpus() is None


def test_what_was_never_started_can_be_closed(monkeypatch: pytest.MonkeyPatch):
    """A server whose port is taken ends before."""
    nvml = Nvml(1)
    gpus = found(monkeypatch, nvml)
    assert gpus is not None
    gpus.close()

    assert nvml.open == 0
