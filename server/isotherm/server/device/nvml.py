"""What NVIDIA's management library tells: the driver's release, and how much memory is free.

It belongs to the driver. Asking it holds no memory of a device, as asking CUDA itself would.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any, Final

LIBRARY: Final = "libnvidia-ml.so.1"
_RELEASE_BYTES: Final = 96


class _Memory(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


@dataclass(frozen=True, slots=True)
class Told:
    """What it said; empty where there is no such library."""

    release: str = ""
    # Free bytes by the device's uuid.
    free_bytes: dict[str, int] = field(default_factory=dict)


def read(uuids: tuple[str, ...], library: str = LIBRARY) -> Told:
    """Ask for the driver's release, and for the memory of these devices."""
    try:
        nvml: Any = ctypes.CDLL(library)
    except OSError:
        return Told()
    if nvml.nvmlInit_v2():
        return Told()
    try:
        release = ctypes.create_string_buffer(_RELEASE_BYTES)
        nvml.nvmlSystemGetDriverVersion(release, _RELEASE_BYTES)
        free_bytes = {uuid: _free_bytes(nvml, uuid) for uuid in uuids}
    finally:
        nvml.nvmlShutdown()
    return Told(
        release.value.decode(errors="replace"),
        {uuid: free for uuid, free in free_bytes.items() if free is not None},
    )


def _free_bytes(nvml: Any, uuid: str) -> int | None:
    handle = ctypes.c_void_p()
    memory = _Memory()
    if nvml.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)):
        return None
    if nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)):
        return None
    return int(memory.free)
