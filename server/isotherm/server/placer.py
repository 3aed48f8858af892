"""The placer: opens models where they are to run, proves and times them there, and chooses."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final, Self, TypeVar

from isotherm.server import costs
from isotherm.server.config import ServerConfig
from isotherm.server.costs import UNKNOWN_COST, Stopwatch, Times, time_runs
from isotherm.server.device.cudart import Cuda
from isotherm.server.device.device import Device
from isotherm.server.device.lane import Lane
from isotherm.server.device.probe import cuda_problem, visible_devices
from isotherm.server.device.turns import Share, Turns
from isotherm.server.errors import LoadError, ProviderError
from isotherm.server.model_file import ModelFile
from isotherm.server.placement import Placement, close_now
from isotherm.server.providers import ON_CPU, DeviceOptions
from isotherm.server.session import Session, reason
from isotherm.v1.contract import ContractError

_log = logging.getLogger(__name__)

T = TypeVar("T")

_MIB: Final = 1 << 20
# What errors say when a device has no room, in whichever library.
_NO_MEMORY: Final = ("alloc", "available memory", "out of memory")


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
        self._device = device
        self._turns = Turns()
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
        if config.provider == "cuda":
            msg = f"--provider cuda: {problem}"
            raise ProviderError(msg)
        _log.warning("provider auto took cpu: %s", problem)
        return cls(config, missing=problem)

    def place(self, file: ModelFile) -> Placement:
        """Return where a file's model runs; raise LoadError when it cannot, or answers wrongly."""
        device = self._device
        if device is None:
            placed = self._on_cpu(file)
            return _stayed(placed, self._missing, fell_back=True) if self._missing else placed
        if self._only_device:
            return self._on_device(device, file)
        try:
            placed = self._on_cpu(file)
        except LoadError as error:
            if type(error.__cause__).__name__ != "NotImplemented":
                raise
            # An operator that the CPU lacks.
            return self._on_device(device, file)
        try:
            return self._on_the_faster(device, file, placed)
        except LoadError as error:
            _log.warning("%s: provider auto took cpu: %s", file.label, error)
            return _stayed(placed, str(error), fell_back=True)

    def _on_cpu(self, file: ModelFile) -> Placement:
        session = file.open(ON_CPU)
        file.check(session)
        cost = _tried(file, lambda: costs.measure(session, file.max_batch_size))
        file.prove(session, session.run)
        return Placement(provider="cpu", session=session, host=cost or UNKNOWN_COST)

    def _on_device(self, device: Device, file: ModelFile) -> Placement:
        free_bytes = _free_bytes(device)
        lanes, times = self._lanes(device, file)
        return Placement(
            provider="cuda",
            session=lanes[0].session,
            lanes=lanes,
            device=times,
            device_number=device.number,
            break_even_rows=1,
            notes=_notes(lanes),
            memory_bytes=_taken_bytes(free_bytes, device, lanes),
        )

    def _on_the_faster(self, device: Device, file: ModelFile, placed: Placement) -> Placement:
        """Return `placed`, which is on the CPU, with what a device does better."""
        free_bytes = _free_bytes(device)
        lanes, times = self._lanes(device, file)
        host = self._time_host(file, placed.session, times) if times is not None else None
        if times is None or host is None:
            close_now(lanes)
            return _stayed(placed, "it could not be timed", break_even_rows=0)
        rows = costs.break_even(host, times)
        if rows is None:
            close_now(lanes)
            return _stayed(placed, "the CPU is faster at every size", break_even_rows=0)
        return Placement(
            provider="cuda",
            # One that would never run goes, and its memory with it.
            session=placed.session if rows > 1 else lanes[0].session,
            host=host if rows > 1 else UNKNOWN_COST,
            lanes=lanes,
            device=times,
            device_number=device.number,
            break_even_rows=rows,
            notes=_notes(lanes),
            memory_bytes=_taken_bytes(free_bytes, device, lanes),
        )

    def _time_host(self, file: ModelFile, session: Session, device: Times) -> Times | None:
        return _tried(file, lambda: costs.time_host(session, device, self._stopwatch))

    def _lanes(self, device: Device, file: ModelFile) -> tuple[tuple[Lane, ...], Times | None]:
        """Open a file on the device, prove it there, and time it; None where that cannot be."""
        share = self._turns.share()
        opened: list[Lane] = []
        try:
            opened.append(self._lane(device, file, share))
            if file.tolerates_tf32(opened[0].session):
                opened = self._with_tf32(device, file, share, opened) or []
            while len(opened) < file.lanes:
                opened.append(self._lane(device, file, share))
            times = self._time_lane(file, opened[0])
        except BaseException:
            close_now(opened)
            raise
        return tuple(opened), times

    def _with_tf32(
        self, device: Device, file: ModelFile, share: Share, plain: list[Lane]
    ) -> list[Lane] | None:
        """Open the lanes anew, with fewer digits; None where the golden rows are off by too much.

        Not beside the plain ones: the device need not have room for both.
        """
        close_now(plain)
        plain.clear()
        opened: list[Lane] = []
        try:
            while len(opened) < file.lanes:
                opened.append(self._lane(device, file, share, tf32=True))
        except LoadError as error:
            close_now(opened)
            _log.warning("%s: TF32 is left off: %s", file.label, error)
            return None
        except BaseException:
            close_now(opened)
            raise
        return opened

    def _lane(self, device: Device, file: ModelFile, share: Share, *, tf32: bool = False) -> Lane:
        """Open one lane, warm, and proved by the golden rows."""
        options = DeviceOptions(
            kind=device.kind,
            number=device.number,
            memory_limit_bytes=file.memory_limit_mib * _MIB,
            may_mix=not self._only_device,
            tf32=tf32,
        )

        def open_session(stream: int, graphs: bool) -> Session:
            session = file.open(options.providers(stream, graphs=graphs))
            options.check(session)
            return session

        try:
            lane = Lane(
                device,
                open_session,
                max_rows=file.max_batch_size if file.may_batch else 0,
                graphs=file.graphs,
                share=share,
            )
        except Exception as error:
            raise _explained(file, error) from error
        try:
            file.check(lane.session)
            lane.warm_up()
            file.prove(lane.session, lane.run)
        except Exception as error:
            close_now([lane])
            raise _explained(file, error) from error
        return lane

    def _time_lane(self, file: ModelFile, lane: Lane) -> Times | None:
        """Time a lane; None where the model cannot take rows of zeros, as it need not.

        Raises LoadError where the CPU can take them: then the device is what fails.
        """
        limit = file.max_batch_size
        try:
            return costs.time_device(
                lane.session, lane.run, limit, self._stopwatch, lambda: lane.waited_s
            )
        except Exception as error:
            if _lacks_memory(error) or _runs_on_cpu(file):
                raise _explained(file, error) from error
            _warn_untimed(file, error)
            return None


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


def _stayed(
    placed: Placement, note: str, *, fell_back: bool = False, break_even_rows: int | None = None
) -> Placement:
    return Placement(
        provider=placed.provider,
        session=placed.session,
        host=placed.host,
        break_even_rows=break_even_rows,
        notes=(note,),
        fell_back=fell_back,
    )


def _tried(file: ModelFile, work: Callable[[], T]) -> T | None:
    """Return what work on rows of zeros gives; None where it fails.

    Zeros need not be an input that the model can take.
    """
    try:
        return work()
    except Exception as error:  # noqa: BLE001  whatever the model raises
        _warn_untimed(file, error)
        return None


def _warn_untimed(file: ModelFile, error: Exception) -> None:
    _log.warning(
        "%s could not be warmed up or timed, since it fails on rows of zeros (%s): its batches "
        "run on a thread of their own",
        file.label,
        reason(error),
    )


def _runs_on_cpu(file: ModelFile) -> bool:
    try:
        costs.rehearse(file.open(ON_CPU), file.max_batch_size)
    except Exception:  # noqa: BLE001  whatever it is, the CPU is no better
        return False
    return True


def _explained(file: ModelFile, error: Exception) -> Exception:
    """Return what a device's error means for who runs the server."""
    if _lacks_memory(error):
        limit = f"--gpu-memory-limit is {file.memory_limit_mib} MiB for each of its instances"
        return LoadError(f"the device has no room for it ({reason(error)}); {limit}")
    told = isinstance(error, LoadError | ContractError)
    return error if told else LoadError(f"it fails on the device: {reason(error)}")


def _lacks_memory(error: Exception) -> bool:
    # Not the whole text: it names files, such as cuda_allocator.cc, whatever was wrong.
    text = reason(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in _NO_MEMORY)


def _notes(lanes: Sequence[Lane]) -> tuple[str, ...]:
    """Return what the lanes do without, each once."""
    return tuple(dict.fromkeys(note for lane in lanes for note in lane.notes))
