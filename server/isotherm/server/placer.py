"""The placer: opens models where they are to run, proves and times them there, and chooses."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Self, TypeVar

from isotherm.server import costs
from isotherm.server.config import ServerConfig
from isotherm.server.costs import UNKNOWN_COST, Stopwatch, Times, time_runs
from isotherm.server.device.cudart import Cuda
from isotherm.server.device.device import Device
from isotherm.server.device.lane import Lane
from isotherm.server.device.probe import cuda_problem, is_for_cpu, visible_devices
from isotherm.server.errors import LoadError, ProviderError
from isotherm.server.lane_opener import LaneOpener
from isotherm.server.model_file import ModelFile
from isotherm.server.placement import Placement, close_now
from isotherm.server.providers import ON_CPU
from isotherm.server.session import Session, reason

_log = logging.getLogger(__name__)

T = TypeVar("T")

_MIB: Final = 1 << 20
_NO_GPU: Final = "there is no NVIDIA GPU here (--provider cpu says that this is meant)"


class Placer:
    """Places models on the CPU, and on one device if there is one."""

    def __init__(
        self,
        config: ServerConfig,
        device: Device | None = None,
        *,
        missing: str = "",
        stopwatch: Stopwatch = time_runs,
    ) -> None:
        """`missing` says why there is no `device` although one was to be used."""
        self._only_device = config.provider == "cuda"
        self._opener: LaneOpener | None = None
        if device is not None:
            self._opener = LaneOpener(device, stopwatch, may_mix=not self._only_device)
        self._missing = missing
        self._stopwatch = stopwatch

    @classmethod
    def of(cls, config: ServerConfig, slot: int = 0) -> Self:
        """Find the device for a worker's slot, where the settings want one.

        Raises ProviderError, with reason and remedy, when CUDA was asked for and cannot be had.
        """
        if config.provider == "cpu":
            return cls(config)
        problem = cuda_problem()
        if problem is None:
            try:
                return cls(config, _open_device(config.device.number(slot)))
            except ProviderError:
                raise
            except Exception as error:  # noqa: BLE001  whatever its library lacks
                problem = f"the device cannot be opened ({reason(error)}); see `isotherm doctor`"
        elif config.provider == "auto" and is_for_cpu():
            # To replace the package would help nobody.
            problem = _NO_GPU
        if config.provider == "cuda":
            msg = f"--provider cuda: {problem}"
            raise ProviderError(msg)
        _log.warning("provider auto took cpu: %s", problem)
        return cls(config, missing=problem)

    def place(self, file: ModelFile) -> Placement:
        """Return where a file's model runs; raise LoadError when it cannot, or answers wrongly."""
        opener = self._opener
        if opener is None:
            placed = self._on_cpu(file)
            return _stayed(placed, self._missing, fell_back=True) if self._missing else placed
        if self._only_device:
            return self._on_device(opener, file)
        try:
            placed = self._on_cpu(file)
        except LoadError as error:
            if type(error.__cause__).__name__ != "NotImplemented":
                raise
            # An operator that the CPU lacks.
            return self._on_device(opener, file)
        try:
            return self._on_the_faster(opener, file, placed)
        except LoadError as error:
            _log.warning("%s: provider auto took cpu: %s", file.label, error)
            return _stayed(placed, str(error), fell_back=True)

    def _on_cpu(self, file: ModelFile) -> Placement:
        session = file.open(ON_CPU)
        file.check(session)
        cost = _tried(file, lambda: costs.measure(session, file.max_batch_size))
        file.prove(session, session.run)
        return Placement(provider="cpu", session=session, host=cost or UNKNOWN_COST)

    def _on_device(self, opener: LaneOpener, file: ModelFile) -> Placement:
        free_bytes = _free_bytes(opener.device)
        lanes, times = opener.open(file)
        return _on_lanes(opener.device, lanes, times, free_bytes)

    def _on_the_faster(self, opener: LaneOpener, file: ModelFile, placed: Placement) -> Placement:
        """Return `placed`, which is on the CPU, with what a device does better."""
        free_bytes = _free_bytes(opener.device)
        lanes, times = opener.open(file)
        host = self._time_host(file, placed.session, times) if times is not None else None
        if times is None or host is None:
            close_now(lanes)
            return _stayed(placed, "it could not be timed", break_even_rows=0)
        rows = costs.break_even(host, times)
        if rows is None:
            close_now(lanes)
            return _stayed(placed, "the CPU is faster at every size", break_even_rows=0)
        on_lanes = _on_lanes(opener.device, lanes, times, free_bytes)
        # A session that would never run goes, and its memory with it.
        if rows == 1:
            return on_lanes
        return replace(on_lanes, session=placed.session, host=host, break_even_rows=rows)

    def _time_host(self, file: ModelFile, session: Session, device: Times) -> Times | None:
        return _tried(file, lambda: costs.time_host(session, device, self._stopwatch))


def _free_bytes(device: Device) -> int:
    try:
        device.enter()
        return device.memory()[0]
    except Exception as error:
        raise LoadError(str(error)) from error


def _taken_bytes(free_before_bytes: int, device: Device, lanes: Sequence[Lane]) -> int:
    """Return what is free no more, whoever has it; never less than what the lanes know of."""
    known_bytes = sum(lane.memory_bytes for lane in lanes)
    try:
        return max(free_before_bytes - _free_bytes(device), known_bytes)
    except LoadError:
        # The lanes are there, and will tell what is wrong.
        return known_bytes


def _open_device(number: int) -> Device:
    """Return the device of that number; raise ProviderError when there is none."""
    visible = visible_devices()
    if number >= len(visible):
        msg = f"--device-ids names device {number}: the driver shows {len(visible)}, counted from 0"
        raise ProviderError(msg)
    device = Cuda(number)
    found = visible[number]
    _log.info("device %d is %s, %d MiB", number, found.name, found.memory_bytes // _MIB)
    return device


def _on_lanes(
    device: Device, lanes: tuple[Lane, ...], times: Times | None, free_before_bytes: int
) -> Placement:
    """Return where a model runs all of whose batches run on the device."""
    return Placement(
        provider="cuda",
        session=lanes[0].session,
        lanes=lanes,
        device=times,
        device_number=device.number,
        break_even_rows=1,
        notes=_notes(lanes),
        memory_bytes=_taken_bytes(free_before_bytes, device, lanes),
    )


def _stayed(
    placed: Placement, note: str, *, fell_back: bool = False, break_even_rows: int | None = None
) -> Placement:
    """Return where a model runs that stayed on the CPU, with the reason."""
    return replace(placed, break_even_rows=break_even_rows, notes=(note,), fell_back=fell_back)


def _tried(file: ModelFile, work: Callable[[], T]) -> T | None:
    """Return what work on rows of zeros gives; None where it fails.

    Zeros need not be an input that the model can take.
    """
    try:
        return work()
    except Exception as error:  # noqa: BLE001  whatever the model raises
        costs.warn_untimed(file.label, error)
        return None


def _notes(lanes: Sequence[Lane]) -> tuple[str, ...]:
    """Return what the lanes do without, each once."""
    return tuple(dict.fromkeys(note for lane in lanes for note in lane.notes))
