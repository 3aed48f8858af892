"""What the process that vets a file may take, so that the file cannot take more."""

from __future__ import annotations

import ctypes
import math
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
# Weights are held as the file's bytes, the parsed file, the runtime's copy and its packed form.
_COPIES: Final = 4
_SHARE_OF_FREE: Final = 0.8
_MIN_BYTES: Final = 256 << 20
_CGROUP: Final = Path("/sys/fs/cgroup")


def die_with_parent() -> None:
    """Have the kernel end this process when the one that started it has ended."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def memory_budget(max_bytes: int, file_bytes: int) -> int:
    """Return the bytes for one file: what is allowed, but not more than the machine can give.

    In a container the kernel may end all processes where one takes too much.
    """
    wanted = max_bytes + _COPIES * min(file_bytes, max_bytes)
    free = min(_free_bytes(), default=wanted)
    return max(_MIN_BYTES, min(wanted, int(_SHARE_OF_FREE * free)))


def confine(memory_bytes: int, cpu_s: float) -> None:
    """Bound what this process takes from now on; it cannot lift the bounds again."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    space = pages * resource.getpagesize() + memory_bytes
    seconds = math.ceil(cpu_s)
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    # The soft limit ends the process with SIGXCPU, which says why.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _free_bytes() -> Iterator[int]:
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) << 10
    limit = "".join(_lines(_CGROUP / "memory.max"))
    if limit.isdigit():
        used = int("".join(_lines(_CGROUP / "memory.current")) or 0)
        # Cached files are counted as used, and given back when memory is asked for.
        cached = sum(
            int(line.split()[1])
            for line in _lines(_CGROUP / "memory.stat")
            if line.startswith(("active_file ", "inactive_file "))
        )
        yield max(0, int(limit) - used + cached)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
