"""NVIDIA's driver by its own library: which CUDA it runs, and the devices this process may use.

Needs neither ONNX Runtime nor the CUDA libraries; holds no memory of a device.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from isotherm.server.device.problem import Problem

LIBRARY: Final = "libcuda.so.1"
# The oldest driver for CUDA 13.
OLDEST_RELEASE: Final = 580
_PASS_IN: Final = (
    "in a container pass the GPU in (docker run --gpus all, or a limit of nvidia.com/gpu), "
    f"elsewhere install NVIDIA's driver, {OLDEST_RELEASE} or newer"
)
_NO_DEVICE: Final = 100
# What else cuInit may say, by CUresult; the remedy of any other is to look into the kernel's log.
_REMEDIES: Final[Mapping[int, str]] = {
    34: "take the toolkit's folder of stubs out of LD_LIBRARY_PATH",
    46: "another process has the device for itself: end it, or nvidia-smi --compute-mode=0",
    802: "start the fabric manager (systemctl start nvidia-fabricmanager) and wait until it is up",
    803: "the driver was updated underneath its library: restart the machine, or the container",
    804: "take the package cuda-compat away: these devices cannot use it",
}
_LOOK: Final = "look what nvidia-smi and the kernel's log (dmesg | grep -i nvrm) say"
# CUdevice_attribute.
_MAJOR: Final = 75
_MINOR: Final = 76
_NAME_BYTES: Final = 256
_UUID_BYTES: Final = 16
_PCI: Final = Path("/sys/bus/pci/devices")


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """A device that this process may use."""

    # As CUDA counts the visible ones; nvidia-smi may count otherwise, the uuid is the same.
    number: int
    name: str
    uuid: str
    # What its programs must be compiled for: (9, 0) is an H100.
    capability: tuple[int, int]
    memory_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Driver:
    """A driver that answers, with one device at least."""

    # The newest CUDA that it runs.
    cuda: tuple[int, int]
    devices: tuple[Gpu, ...]


def read(library: str = LIBRARY) -> Driver | Problem:
    """Return the driver with its visible devices, or why there is none."""
    try:
        driver: Any = ctypes.CDLL(library)
    except OSError as error:
        seen = ", though the machine has an NVIDIA GPU" if on_the_bus() else ""
        return Problem("driver", f"no NVIDIA driver ({error}){seen}", _PASS_IN)
    status = driver.cuInit(0)
    if status not in {0, _NO_DEVICE}:
        text = f"the NVIDIA driver cannot start: {_name(driver, status)}"
        return Problem("driver", text, _REMEDIES.get(status, _LOOK))
    count = _number(driver.cuDeviceGetCount) if status == 0 else 0
    if not count:
        return _none_visible()
    major, minor = divmod(_number(driver.cuDriverGetVersion), 1000)
    try:
        devices = tuple(_device(driver, number) for number in range(count))
    except OSError as error:
        return Problem("device", f"a device does not answer: {error}", _LOOK)
    return Driver(cuda=(major, minor // 10), devices=devices)


def on_the_bus(folder: Path = _PCI) -> bool:
    """Tell whether the machine has an NVIDIA GPU, whatever this process is given of it."""
    return any(
        (device / "vendor").read_text().strip() == "0x10de"
        # Displays and 3D controllers.
        and (device / "class").read_text().startswith("0x03")
        for device in folder.glob("*")
    )


def _none_visible() -> Problem:
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is None:
        return Problem("device", "the NVIDIA driver shows no device to this process", _PASS_IN)
    return Problem(
        "device",
        f"CUDA_VISIBLE_DEVICES is '{hidden}', which leaves no device",
        "unset it, or name devices that nvidia-smi -L lists",
    )


def _device(driver: Any, number: int) -> Gpu:
    handle = ctypes.c_int()
    _check(driver, driver.cuDeviceGet(ctypes.byref(handle), number))
    name = ctypes.create_string_buffer(_NAME_BYTES)
    _check(driver, driver.cuDeviceGetName(name, _NAME_BYTES, handle))
    uuid = ctypes.create_string_buffer(_UUID_BYTES)
    _check(driver, driver.cuDeviceGetUuid_v2(uuid, handle))
    memory = ctypes.c_size_t()
    _check(driver, driver.cuDeviceTotalMem_v2(ctypes.byref(memory), handle))
    called = name.value.decode(errors="replace")
    # A slice of a device says so in its name, and has an identity of its own.
    kind = "MIG" if " MIG " in called else "GPU"
    return Gpu(
        number=number,
        name=called,
        uuid=f"{kind}-{UUID(bytes=uuid.raw)}",
        capability=(
            _number(driver.cuDeviceGetAttribute, _MAJOR, handle),
            _number(driver.cuDeviceGetAttribute, _MINOR, handle),
        ),
        memory_bytes=memory.value,
    )


def _number(call: Any, *arguments: Any) -> int:
    value = ctypes.c_int(0)
    status = call(ctypes.byref(value), *arguments)
    return value.value if status == 0 else 0


def _check(driver: Any, status: int) -> None:
    if status:
        raise OSError(_name(driver, status))


def _name(driver: Any, status: int) -> str:
    text = ctypes.c_char_p()
    driver.cuGetErrorName(status, ctypes.byref(text))
    return f"{text.value.decode()} ({status})" if text.value else f"status {status}"
