"""What there is of CUDA on this machine, and what to do about what is missing."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Final

from isotherm.server.device import driver, libraries, runtimes
from isotherm.server.device.driver import Driver, Gpu
from isotherm.server.device.problem import Problem
from isotherm.server.device.runtimes import Runtime

__all__ = ["CUDA", "Gpu", "cuda_problem", "driver_problem", "is_for_cpu", "visible_devices"]

CUDA: Final = "CUDAExecutionProvider"


def cuda_problem() -> str | None:
    """Return why ONNX Runtime cannot have CUDA, with the remedy, or None where it can.

    ONNX Runtime only logs what is missing and then runs on the CPU, so all that it needs is asked
    for here first. Afterwards the CUDA libraries are loaded in this process.
    """
    found = next((problem for problem in cuda_problems() if problem.blocks), None)
    return None if found is None else str(found)


def cuda_problems() -> Iterator[Problem]:
    """Look at one part after the other, and yield what is wrong with it."""
    runtime = runtimes.installed()
    without = runtimes.problem(runtime)
    if without is not None:
        yield without
    found = driver.read()
    yield from driver_problems(found, runtime)
    # The package with CUDA brings them.
    if runtime.cuda is None:
        return
    _, missing = libraries.load()
    if missing is not None:
        yield missing
    # It needs the driver's library too.
    elif not isinstance(found, Problem):
        yield from provider_problems(runtime)


def driver_problem() -> str | None:
    """Return why the driver offers no device to this process, or None where it does."""
    found = driver.read()
    return str(found) if isinstance(found, Problem) else None


def is_for_cpu() -> bool:
    """Whether nobody has meant CUDA to work here: the package has none, and no GPU can be seen."""
    return (
        runtimes.installed().cuda is None
        and isinstance(driver.read(), Problem)
        and not driver.on_the_bus()
    )


def visible_devices() -> tuple[Gpu, ...]:
    """Return the devices that this process may use, as CUDA counts them; () without a driver."""
    found = driver.read()
    return () if isinstance(found, Problem) else found.devices


def driver_problems(found: Driver | Problem, runtime: Runtime) -> Iterator[Problem]:
    """Yield what a driver lacks: itself, or the CUDA that this runtime was built with."""
    if isinstance(found, Problem):
        yield found
    elif found.cuda[0] < runtime.cuda_major:
        newest = ".".join(map(str, found.cuda))
        yield Problem(
            "driver",
            f"the NVIDIA driver runs CUDA {newest} at the most, and this onnxruntime is built with"
            f" {runtime.cuda}",
            f"update NVIDIA's driver to {driver.OLDEST_RELEASE} or newer",
        )


def provider_problems(runtime: Runtime) -> Iterator[Problem]:
    """Open ONNX Runtime's library for CUDA: the loader's message names the missing part."""
    folder = runtime.folder
    if folder is None:
        return
    from isotherm.server.runtime import ort

    # What it loads is loaded; builds that take CUDA as a plugin register it here.
    ort.preload_dlls(cudnn=False)
    for part in ("shared", "cuda"):
        path = folder / "capi" / f"libonnxruntime_providers_{part}.so"
        try:
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            text = f"the CUDA provider cannot be loaded ({error})"
            yield Problem("provider", text, "pip install --force-reinstall 'isotherm[server-gpu]'")
            return
