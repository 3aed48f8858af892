"""How many CPUs may be used: affinity and quota, on trees as the kernel lays them out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from isotherm.server import cpus

MACHINE = len(os.sched_getaffinity(0))


def tree(folder: Path, membership: str, **files: str) -> dict[str, Path]:
    """Write control groups, and the list of those that the process is in."""
    for name, text in files.items():
        path = folder / "groups" / name.replace("__", "/").replace("_max", ".max")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "membership").write_text(membership, encoding="utf-8")
    return {"cgroups": folder / "groups", "membership": folder / "membership"}


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("100000 100000", 1), ("50000 100000", 1), ("max 100000", MACHINE), ("junk", MACHINE)],
)
def test_the_quota_of_the_own_group_binds(tmp_path: Path, quota: str, expected: int):
    """Half a CPU is one; what cannot be read binds nobody."""
    files = tree(tmp_path, "0::/\n", cpu_max=quota)

    assert cpus.allowed(**files) == expected


def test_the_quota_of_a_group_above_binds_too(tmp_path: Path):
    """A pod's limit stands above its containers'."""
    files = tree(
        tmp_path,
        "0::/pod/container\n",
        pod__cpu_max="100000 100000\n",
        pod__container__cpu_max="max 100000\n",
    )

    assert cpus.allowed(**files) == 1


def test_the_first_version_of_control_groups_is_read(tmp_path: Path):
    """Two files a quota, in a tree of their own."""
    group = tmp_path / "groups" / "cpu,cpuacct" / "box"
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text("100000\n", encoding="utf-8")
    (group / "cpu.cfs_period_us").write_text("100000\n", encoding="utf-8")
    files = tree(tmp_path, "9:memory:/box\n4:cpu,cpuacct:/box\n")

    assert cpus.allowed(**files) == 1


def test_the_affinity_mask_binds_where_there_is_no_quota(tmp_path: Path):
    """Without control groups, what the scheduler allows is what counts."""
    nowhere = tmp_path / "nowhere"

    assert cpus.allowed(nowhere, nowhere) == MACHINE
    assert 1 <= cpus.allowed() <= MACHINE
