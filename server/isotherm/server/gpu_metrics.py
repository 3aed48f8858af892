"""What the scrape says of the machine's GPUs, read by NVIDIA's management library.

The library and its binding are looked for once; where either, or a device, is missing there are no
families of GPUs. It may take tens of milliseconds to answer, so a thread reads it, and scrapes show
what was read last.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from isotherm.server.families import gpus
from isotherm.server.families.family import Gauge

_log = logging.getLogger(__name__)

_POLL_S: Final = 5.0
_BINDING: Final = "pynvml"

Reading = Mapping[Gauge, float]


def find_gpus() -> Gpus | None:
    """Return the machine's GPUs; None where they, NVIDIA's library or its binding are missing."""
    try:
        nvml = importlib.import_module(_BINDING)
    except ImportError:
        _log.debug("no metrics of GPUs: nvidia-ml-py is not installed")
        return None
    try:
        nvml.nvmlInit()
        devices = [nvml.nvmlDeviceGetHandleByIndex(n) for n in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError as error:
        _log.debug("no metrics of GPUs: %s", error)
        return None
    return Gpus(nvml, devices) if devices else None


class Gpus(Collector):
    """Shows what its thread has read last of every device."""

    def __init__(self, nvml: Any, devices: list[Any]) -> None:
        """`nvml` is the binding, initialised; `devices` are its handles, by number."""
        self._nvml = nvml
        self._devices = devices
        self._readings: list[Reading] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpus", daemon=True)

    def start(self) -> None:
        """Read now, and from now on every few seconds."""
        self._thread.start()

    def close(self) -> None:
        """Read no more."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
        self._nvml.nvmlShutdown()

    def collect(self) -> Iterator[Metric]:
        """Yield every family; it has no series of a device that does not tell."""
        readings = self._readings
        for family in (gpus.MEMORY_USED, gpus.MEMORY_TOTAL, gpus.UTILIZATION, gpus.POWER):
            metric = family.collect()
            for number, reading in enumerate(readings):
                if family in reading:
                    metric.add_metric([str(number)], reading[family])
            yield metric

    def _run(self) -> None:
        while True:
            self._readings = [self._read(device) for device in self._devices]
            if self._done.wait(_POLL_S):
                return

    def _read(self, device: Any) -> Reading:
        nvml = self._nvml
        reading: dict[Gauge, float] = {}

        def take(ask: Callable[[Any], Any], values: Callable[[Any], Reading]) -> None:
            try:
                reading.update(values(ask(device)))
            except nvml.NVMLError as error:
                _log.debug("a GPU does not tell: %s", error)

        take(
            nvml.nvmlDeviceGetMemoryInfo,
            lambda memory: {gpus.MEMORY_USED: memory.used, gpus.MEMORY_TOTAL: memory.total},
        )
        take(
            nvml.nvmlDeviceGetUtilizationRates,
            lambda rates: {gpus.UTILIZATION: rates.gpu / 100},
        )
        take(nvml.nvmlDeviceGetPowerUsage, lambda milliwatts: {gpus.POWER: milliwatts / 1000})
        return reading
