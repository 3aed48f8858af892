"""How long imports take, each in a fresh process that has compiled them before."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

NEEDED = "import grpc, numpy, google.protobuf"
LAZY = "import isotherm.client"
TOUCHED = "from isotherm.client import Client, AsyncClient"
# Nobody is asked there: a client connects with its first call.
MADE = f"{TOUCHED}; Client('127.0.0.1:1'), AsyncClient('127.0.0.1:1')"
THEIRS = "import tritonclient.grpc, tritonclient.grpc.aio"

_TIMED = """
import time
begin = time.perf_counter()
{statement}
print((time.perf_counter() - begin) * 1e3)
"""


def import_ms(rounds: int) -> dict[str, list[float]]:
    """Return the milliseconds of each statement in each round, in turn; needs no server."""
    statements = [NEEDED, LAZY, TOUCHED, MADE, THEIRS]
    found: dict[str, list[float]] = {statement: [] for statement in statements}
    with tempfile.TemporaryDirectory() as compiled:
        for statement in statements:
            _once(statement, compiled)
        for number in range(rounds):
            for statement in statements if number % 2 else statements[::-1]:
                found[statement].append(_once(statement, compiled))
    return found


def _once(statement: str, compiled: str) -> float:
    # Whether Python may write into the installed packages must make no difference.
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    result = subprocess.run(
        [sys.executable, "-c", _TIMED.format(statement=statement)],
        env=kept | {"PYTHONPYCACHEPREFIX": compiled},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(result.stdout)
