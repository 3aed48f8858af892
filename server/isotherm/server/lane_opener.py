"""The lane opener: a model file's lanes on one device, opened, proved and timed."""

from __future__ import annotations

import logging
from typing import Final

from isotherm.server import costs
from isotherm.server.costs import Stopwatch, Times
from isotherm.server.device.device import Device
from isotherm.server.device.lane import Lane
from isotherm.server.device.turns import Share, Turns
from isotherm.server.errors import LoadError
from isotherm.server.model_file import ModelFile
from isotherm.server.placement import close_now
from isotherm.server.providers import ON_CPU, DeviceOptions
from isotherm.server.session import Session, reason
from isotherm.v1.contract import ContractError

_log = logging.getLogger(__name__)

_MIB: Final = 1 << 20
# What errors say when a device has no room, in whichever library.
_NO_MEMORY: Final = ("alloc", "available memory", "out of memory")


class LaneOpener:
    """Opens the lanes of models that share one device."""

    def __init__(self, device: Device, stopwatch: Stopwatch, *, may_mix: bool) -> None:
        """`may_mix` lets the CPU run what the device cannot."""
        self.device = device
        self._stopwatch = stopwatch
        self._may_mix = may_mix
        self._turns = Turns()

    def open(self, file: ModelFile) -> tuple[tuple[Lane, ...], Times | None]:
        """Open a file's lanes, warm and proved, and time one; None where that cannot be.

        Raises LoadError, or ContractError, when the device cannot have it or answers wrongly.
        """
        share = self._turns.share()
        opened: list[Lane] = []
        try:
            opened.append(self._lane(file, share))
            if file.tolerates_tf32(opened[0].session):
                opened = self._with_tf32(file, share, opened) or []
            while len(opened) < file.lanes:
                opened.append(self._lane(file, share))
            times = self._time_lane(file, opened[0])
        except BaseException:
            close_now(opened)
            raise
        return tuple(opened), times

    def _with_tf32(self, file: ModelFile, share: Share, plain: list[Lane]) -> list[Lane] | None:
        """Open the lanes anew, with fewer digits; None where the golden rows are off by too much.

        Not beside the plain ones: the device need not have room for both.
        """
        close_now(plain)
        plain.clear()
        opened: list[Lane] = []
        try:
            while len(opened) < file.lanes:
                opened.append(self._lane(file, share, tf32=True))
        except LoadError as error:
            close_now(opened)
            _log.warning("%s: TF32 is left off: %s", file.label, error)
            return None
        except BaseException:
            close_now(opened)
            raise
        return opened

    def _lane(self, file: ModelFile, share: Share, *, tf32: bool = False) -> Lane:
        """Open one lane, warm, and proved by the golden rows."""
        options = DeviceOptions(
            kind=self.device.kind,
            number=self.device.number,
            memory_limit_bytes=file.memory_limit_mib * _MIB,
            may_mix=self._may_mix,
            tf32=tf32,
        )

        def open_session(stream: int, graphs: bool) -> Session:
            session = file.open(options.providers(stream, graphs=graphs))
            options.check(session)
            return session

        try:
            lane = Lane(
                self.device,
                open_session,
                max_rows=file.max_batch_size if file.may_batch else 0,
                graphs=file.graphs,
                share=share,
                label=file.label,
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
            costs.warn_untimed(file.label, error)
            return None


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
