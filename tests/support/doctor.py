"""`isotherm doctor` in a process of its own, on whatever machine its variables lead to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def doctor(environment: dict[str, str] | None, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "isotherm.server.doctor", *flags],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def found(environment: dict[str, str], *flags: str) -> tuple[dict[str, Any], int]:
    """Return what it finds, and the exit status."""
    hide_torch(environment)
    result = doctor(environment, "--json", *flags)
    assert result.stderr == ""
    facts: dict[str, Any] = json.loads(result.stdout)
    return facts, result.returncode


def hide_torch(environment: dict[str, str]) -> None:
    """Put another torch in front of the real one, which takes seconds to import."""
    site = Path(environment["PYTHONPATH"].partition(os.pathsep)[0])
    (site / "torch.py").write_text(
        "from types import SimpleNamespace as N\n"
        "print('a line that is no answer')\n"
        "__version__ = '2.13.0'\nversion = N(cuda='13.0')\n"
        "cuda = N(init=lambda: None, device_count=lambda: 2)\n"
    )
