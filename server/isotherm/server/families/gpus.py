"""Families of the machine's GPUs."""

from __future__ import annotations

from typing import Final

from isotherm.server.families.family import Gauge, Section

_GPU: Final = ("gpu",)

MEMORY_USED: Final = Gauge(
    "isotherm_gpu_memory_used_bytes", "memory in use, by whatever process", _GPU
)
MEMORY_TOTAL: Final = Gauge("isotherm_gpu_memory_total_bytes", "memory that it has", _GPU)
UTILIZATION: Final = Gauge(
    "isotherm_gpu_utilization_ratio",
    "part of the last moments (from 1/6 to 1 second) in which it ran anything at all",
    _GPU,
)
POWER: Final = Gauge("isotherm_gpu_power_watts", "power that it draws", _GPU)

SECTION: Final = Section(
    "GPUs",
    (MEMORY_USED, MEMORY_TOTAL, UTILIZATION, POWER),
    "Where NVIDIA's library finds a device, `nvidia-ml-py` is installed (it comes with "
    "`isotherm[server-gpu]`) and `--provider` is not `cpu`; elsewhere these families are "
    "missing. `gpu` is the device's number there. They are read every 5 seconds, and what a "
    "device does not tell (the utilisation of one that is split by MIG) is left out.",
    optional=True,
)
