"""CPUs: how many this process may use, which is seldom how many the machine has."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

_CGROUPS: Final = Path("/sys/fs/cgroup")
_MEMBERSHIP: Final = Path("/proc/self/cgroup")


def allowed(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> int:
    """Return the CPUs that the affinity mask and the cgroup's quota leave, 1 at least.

    A quota of 2.5 CPUs is 3: the half would otherwise never be used.

    Args:
        cgroups: where the control groups are mounted.
        membership: the kernel's list of the groups that this process is in.
    """
    limits = [_quota(folder) for folder in _folders(cgroups, membership)]
    return max(1, math.ceil(min([len(os.sched_getaffinity(0)), *limits])))


def _folders(cgroups: Path, membership: Path) -> list[Path]:
    """Return the process's group and those above it: each of their quotas binds."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    folders = {cgroups, cgroups / "cpu"}
    for line in lines:
        # "0::/path" in version 2, "4:cpu,cpuacct:/path" in version 1.
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = cgroups / controllers if controllers else cgroups
        group = top / path.lstrip("/")
        folders.update(one for one in (group, *group.parents) if one.is_relative_to(cgroups))
    return sorted(folders)


def _quota(folder: Path) -> float:
    """Return a group's quota in CPUs, infinite where it has none."""
    try:
        if (folder / "cpu.max").is_file():
            quota_us, period_us = (folder / "cpu.max").read_text(encoding="utf-8").split()
        else:
            quota_us = (folder / "cpu.cfs_quota_us").read_text(encoding="utf-8").strip()
            period_us = (folder / "cpu.cfs_period_us").read_text(encoding="utf-8").strip()
        if quota_us in {"max", "-1"}:
            return math.inf
        return int(quota_us) / int(period_us)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
