"""What was busy while a load ran: a server's threads, and the device."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_POLL_S: Final = 0.1


def utilisation() -> Callable[[], float | None]:
    """Return what tells the share of the last moments in which the first device was busy.

    By NVIDIA's management library; where its binding is missing, by nvidia-smi. None: nobody tells.
    """
    try:
        import pynvml  # type: ignore[import-untyped]

        pynvml.nvmlInit()
        device: Any = pynvml.nvmlDeviceGetHandleByIndex(0)
    except Exception:  # noqa: BLE001  no binding, no library, no device
        return _by_program
    return lambda: float(pynvml.nvmlDeviceGetUtilizationRates(device).gpu) / 100


def _by_program() -> float | None:
    query = ["nvidia-smi", "--id=0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    with suppress(OSError, ValueError, subprocess.SubprocessError):
        text = subprocess.run(query, capture_output=True, text=True, check=True, timeout=10).stdout
        return float(text) / 100
    return None


class Watch:
    """While its block lasts, counts the CPU that processes take, and how busy the device is.

    Attributes:
        busiest_thread: CPU share of the one thread that took most.
        cpus: CPUs that the processes took in all.
        device: Mean share in which the device was busy, None where nobody tells.
    """

    def __init__(self, pids: Sequence[int], device: Callable[[], float | None]) -> None:
        self.busiest_thread = self.cpus = 0.0
        self.device: float | None = None
        self._pids, self._ask = pids, device
        self._done = threading.Event()
        self._seen: list[float] = []
        self._thread = threading.Thread(target=self._poll, name="watch", daemon=True)

    def __enter__(self) -> Self:
        # Around what is read: no thread ever seems to take more than a CPU.
        self._began_s = time.monotonic()
        self._before = _threads_s(self._pids)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        after = _threads_s(self._pids)
        took_s = time.monotonic() - self._began_s
        self._done.set()
        self._thread.join()
        used = [after[thread] - self._before.get(thread, 0.0) for thread in after]
        self.busiest_thread = max(used, default=0.0) / took_s
        self.cpus = sum(used) / took_s
        # The first readings tell of before.
        settled = self._seen[2:]
        self.device = sum(settled) / len(settled) if settled else None

    def _poll(self) -> None:
        while not self._done.wait(_POLL_S):
            share = self._ask()
            if share is None:
                return
            self._seen.append(share)


def _threads_s(pids: Sequence[int]) -> dict[tuple[int, str], float]:
    """Return the CPU seconds of every thread of the processes."""
    used = {}
    for pid in pids:
        for status in Path(f"/proc/{pid}/task").glob("*/stat"):
            # One that has just ended has nothing to be read.
            with suppress(OSError):
                fields = status.read_text().rpartition(")")[2].split()
                used[pid, status.parent.name] = (int(fields[11]) + int(fields[12])) * TICK_S
    return used
