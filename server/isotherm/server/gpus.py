"""GPUs: which of them the workers run on."""

from __future__ import annotations

from isotherm.server.config import Provider
from isotherm.server.device import probe, runtimes


def used(provider: Provider, chosen: tuple[int, ...] = ()) -> tuple[int, ...]:
    """Return the devices that workers take in turn: those chosen, or all that are visible.

    None without a driver, or where `auto` will not take them since ONNX Runtime is built for the
    CPU alone; the worker says so.
    """
    if provider == "cpu":
        return ()
    visible = probe.visible_devices()
    if not visible or (provider == "auto" and runtimes.installed().cuda is None):
        return ()
    return chosen or tuple(gpu.number for gpu in visible)


def parse(text: str) -> tuple[int, ...]:
    """Return the numbers in a list such as "0,2"; raise ValueError for anything else."""
    return tuple(int(part) for part in text.split(",")) if text.strip() else ()
