"""All processes of a server, however it starts them: their CPU, their memory, their end.

Some peers' processes leave their parent (Ray, BentoML). We ask the kernel to hand orphans to us, so
that whatever a server starts stays below this process, and is counted and ended.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_PR_SET_CHILD_SUBREAPER = 36
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
STOP_TIMEOUT_S = 20.0


def adopt_orphans() -> None:
    """Become the parent of whatever our descendants leave behind."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


class Memory(NamedTuple):
    """Bytes: the largest process alone, and all together with shared pages split."""

    largest_rss: int
    total_pss: int
    processes: int


class Tree:
    """A server's processes: all below this one, since only one server runs at a time.

    `h2load` has ended whenever they are counted.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def cpu_seconds(self) -> dict[int, float]:
        """Return the CPU time of each process, with that of its children that have ended."""
        return {
            pid: sum(int(ticks) for ticks in fields[11:15]) / _TICKS
            for pid, fields in _below(os.getpid()).items()
        }

    def memory(self) -> Memory:
        """Return what they hold now."""
        below = _below(os.getpid())
        rss = [int(fields[21]) * _PAGE for fields in below.values()]
        return Memory(max(rss, default=0), sum(_pss(pid) for pid in below), len(below))

    def end(self) -> None:
        """Ask the server to end, then end what it leaves; every one by its pid."""
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_TIMEOUT_S)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in _below(os.getpid()):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            deadline = time.monotonic() + STOP_TIMEOUT_S / 4
            while _below(os.getpid()) and time.monotonic() < deadline:
                self._reap()
                time.sleep(0.02)
        self._reap()

    def _reap(self) -> None:
        self.process.poll()
        for pid, fields in _below(os.getpid()).items():
            if fields[0] == "Z" and pid != self.process.pid:
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)


def _below(root: int) -> dict[int, list[str]]:
    """Return the processes below one: pid to the fields of its `stat` from the state on."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The command's name may have spaces and brackets.
            found[int(path.parent.name)] = path.read_text().rpartition(")")[2].split()
    below: dict[int, list[str]] = {}
    parents = {root}
    while parents:
        children = {pid: fields for pid, fields in found.items() if int(fields[1]) in parents}
        below |= children
        parents = set(children)
    return below


def _pss(pid: int) -> int:
    try:
        match = re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    except OSError:
        return 0
    return int(match[1]) * 1024 if match else 0
