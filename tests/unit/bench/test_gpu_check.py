"""tests/gpu/check.sh: device time is dear, so one step that fails or hangs costs only itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHECK = Path(__file__).parents[2] / "gpu" / "check.sh"
# In place of Python: says what it was asked, hangs as a benchmark, fails as a test.
PYTHON = """#!/bin/sh
echo "$@" >> "$ASKED"
echo "output of $1 $2"
case "$*" in
  *"-m pytest"*) exit 1 ;;
  *bench/gpu.py*) exec sleep 30 ;;
  *lanes*) exec sleep 30 ;;
esac
"""
# Tells the limits of steps.
TIMEOUT = """#!/bin/sh
[ "$1" != --kill-after ] || echo "$3" >> "$ASKED.limits"
exec {real} "$@"
"""


@pytest.fixture(name="environment")
def _environment(tmp_path: Path) -> dict[str, str]:
    """A Python that is none, and a second for each of those that hang."""
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    (tmp_path / "bin").mkdir()
    timeout = tmp_path / "bin" / "timeout"
    timeout.write_text(TIMEOUT.format(real=shutil.which("timeout")))
    timeout.chmod(0o755)
    asked = {"ASKED": str(tmp_path / "asked"), "PYTHON": str(python)}
    asked["PATH"] = f"{timeout.parent}{os.pathsep}{os.environ['PATH']}"
    limits = {"BENCH_S": "1", "LANES_S": "1", "TESTS_S": "180"}
    return os.environ | asked | limits | {"BENCH": "--seconds 210"}


def test_every_step_runs_whatever_became_of_the_others(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """In their order, each within its time; the status says that not all went well."""
    out = tmp_path / "reports"
    result = subprocess.run(
        ["sh", str(CHECK), str(out)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )

    asked = Path(environment["ASKED"]).read_text().splitlines()
    expected = (
        *("doctor --provider cuda", "doctor --json", "import importlib.metadata"),
        "-v --continue-on-collection-errors tests/gpu/test_lanes.py",
        "tests/gpu/test_doctor.py tests/gpu/test_served.py tests/gpu/test_sharing.py"
        " tests/gpu/test_memory.py",
        f"lanes --json {out}/lanes.json",
        "-v --continue-on-collection-errors tests/gpu/test_training.py",
        f"bench/gpu.py --json {out}/gpu.json --seconds 210",
    )
    assert len(asked) == len(expected)
    assert all(part in line for part, line in zip(expected, asked, strict=True)), asked
    limits = Path(f"{environment['ASKED']}.limits").read_text().split()
    assert limits == ["60", "30", "60", "120", "1", "90", "1"]
    assert result.returncode == 1
    states = [line for line in result.stdout.splitlines() if ": status" in line]
    assert [line.split(" after")[0] for line in states] == [
        "== doctor: status 0",
        "== facts: status 0",
        "== tests: status 1",
        "== tests: status 1",
        "== lanes: status 124",
        "== training: status 1",
        "== bench: status 124",
    ]
    steps = ("doctor", "facts", "tests", "lanes", "training", "bench")
    assert {report.name for report in out.iterdir()} == {f"{step}.log" for step in steps}
    assert (out / "tests.log").read_text().count("output of -m pytest") == 2


def test_one_step_may_run_alone(tmp_path: Path, environment: dict[str, str]) -> None:
    """After a mistake is mended, what is left of the time is for that step."""
    result = subprocess.run(
        ["sh", str(CHECK), str(tmp_path / "reports"), "doctor"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )

    assert result.returncode == 0
    assert len(Path(environment["ASKED"]).read_text().splitlines()) == 1
